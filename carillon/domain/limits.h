// Every limit on what callers may send, and every bound on what a process
// holds, with its unit and reason. What a site may change are flags (the mains).
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace carillon::limits {

// --- Fields. Bytes of UTF-8; control characters are refused.
inline constexpr size_t kMaxIdBytes = 255;        // user_id, actor_id, object_id, idempotency_key.
inline constexpr size_t kMaxTypeNameBytes = 100;  // Also routing keys; AMQP allows 255.
inline constexpr size_t kMaxAppNameBytes = 100;
inline constexpr size_t kMaxLocaleBytes = 35;       // What BCP 47 tells to expect.
inline constexpr size_t kMaxCronBytes = 100;        // Longer ones list what ranges and steps say.
inline constexpr size_t kMaxDataBytes = 16 * 1024;  // data as JSON: feeds and envelopes stay small.
inline constexpr int kMaxDataDepth = 16;            // Recursion in every reader of data.
inline constexpr size_t kMaxTemplateFieldBytes = 500;
inline constexpr size_t kMaxTemplateBodyBytes = 2000;
inline constexpr size_t kMaxRenderedFieldBytes = 4 * 1024;  // After rendering; longer is cut.
inline constexpr absl::Duration kMinTtl = absl::Seconds(1);
inline constexpr absl::Duration kMaxTtl = absl::Hours(24 * 365);
inline constexpr int64_t kLastTimestampSecond = 253'402'300'799;  // Of a google.protobuf.Timestamp: the year 9999.
inline constexpr absl::Duration kMaxSendDelay = absl::Hours(24 * 365);  // How far ahead send_time may be.

// --- Requests.
inline constexpr int kMaxBatchSize = 1000;  // Requests in a batch; types in one apply.
inline constexpr int kMaxMarkReadIds = 1000;
inline constexpr size_t kMaxAudienceUsers = 10'000;
inline constexpr int kMaxCounterObjects = 500;
inline constexpr int kMaxMaskPaths = 20;                  // Of an update_mask.
inline constexpr size_t kMaxRecurrenceBytes = 64 * 1024;  // What one sends, as protobuf: a server takes 200 at once.
inline constexpr absl::Duration kMaxDedupeWindow = absl::Hours(24 * 30);
inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 500;
// A batch of the largest requests must fit; gRPC's own default is 4 MiB.
inline constexpr int kMaxReceiveMessageBytes = 32 * 1024 * 1024;
inline constexpr int kMaxMetadataBytes = 16 * 1024;
// gRPC carries a status in trailers, which peers cap at 8 KiB.
inline constexpr size_t kMaxStatusMessageBytes = 1024;
inline constexpr size_t kMaxReportedViolations = 20;
// Work that no caller put a deadline on.
inline constexpr absl::Duration kDefaultDeadline = absl::Seconds(15);

// --- The door.
inline constexpr size_t kWriterQueueItems = 16 * 1024;  // Notifications that wait for a commit, per lane.
inline constexpr size_t kWriterBatchItems = 256;        // Per transaction; a larger batch request goes alone.
inline constexpr size_t kExecutorQueue = 4096;          // Reads that wait for a thread.
inline constexpr size_t kCredentialCacheEntries = 10'000;
inline constexpr int64_t kMaxSendRate = 1'000'000;  // Per second. More is no limit.
// A burst is at most what the rate allows in this time: so long the shared state is kept.
inline constexpr int64_t kMaxBurstSeconds = 24 * 60 * 60;
inline constexpr int64_t kMaxRunawayPerMinute = 1'000'000'000;
inline constexpr size_t kLimiterQueueItems = 16 * 1024;  // Notifications that wait to be let in.
inline constexpr size_t kLimiterBatchItems = 256;        // Let in by one round trip to Redis: some milliseconds of it.
inline constexpr size_t kLocalRateKeys = 100'000;        // Apps and senders whose rates a process remembers.
inline constexpr int kMaxTrippedSenders = 1000;          // Of an app; the one tripped longest ago is let in again.
inline constexpr absl::Duration kMinClockStep = absl::Seconds(1);
inline constexpr absl::Duration kMaxClockStep = absl::Hours(24 * 366);
inline constexpr absl::Duration kMaxClockOffset = absl::Hours(24 * 366 * 100);  // Of a sandbox, in all.

// --- Streams.
inline constexpr size_t kStreamBufferEvents = 1000;    // Per stream; more: resume_required.
inline constexpr int kBacklogPage = 500;               // Items in one backlog read.
inline constexpr size_t kMaxStreams = 50'000;          // Per server.
inline constexpr size_t kMaxStreamsPerRecipient = 20;  // A client in a reconnect loop.

// --- Pressure.
inline constexpr size_t kDepthSamples = 720;            // Of a queue: an hour, one each 5 s. 64 bytes each.
inline constexpr size_t kMaxSampleWaiters = 1000;       // Calls that wait for a look at the queues.
inline constexpr int kMaxBreakersShown = 1000;          // Of all apps.
inline constexpr int64_t kCountedDeadLetters = 10'000;  // Of a queue; more are not told apart.
inline constexpr size_t kMaxWatches = 10'000;           // WatchNotification calls of a server: one query looks at all.
inline constexpr size_t kMaxWatchesPerApp = 1000;

// --- User tokens.
inline constexpr absl::Duration kMinTokenTtl = absl::Minutes(1);
inline constexpr absl::Duration kMaxTokenTtl = absl::Hours(24);  // They can't be taken back one by one.
inline constexpr absl::Duration kDefaultTokenTtl = absl::Minutes(15);
inline constexpr absl::Duration kTokenLeeway = absl::Seconds(5);  // How far the clocks of two servers may be apart.
inline constexpr size_t kMaxTokenBytes = 2048;                    // Ours have some 350, and the user's id.

// --- The HTTP port.
inline constexpr size_t kMaxHttpConnections = 20'000;     // Idle ones hold some 2 KB each.
inline constexpr size_t kMaxHttpStreams = 18'000;         // The others are left for requests.
inline constexpr size_t kMaxHttpRequests = 1000;          // Under way at once, each with a body of up to 1 MiB.
inline constexpr size_t kMaxInlineJsonBytes = 64 * 1024;  // About 1 ms; what is larger is converted elsewhere.

// --- Decisions. What a worker keeps, some 200 bytes each.
inline constexpr size_t kSettingsCacheEntries = 100'000;
inline constexpr size_t kLocalCapWindows = 100'000;
inline constexpr int64_t kMaxDryRunRecipients = 10'000;  // Of a larger audience: a sample.
inline constexpr int kMaxDryRuns = 2;                    // Of events, at once on a server.

// --- Fan-out.
inline constexpr int kFanoutPage = 500;  // Recipients told in one transaction.
inline constexpr int kMaxShards = 8;     // Ranges of one audience side by side: events take turns.
inline constexpr int64_t kMinShardMembers = 25'000;

// --- Templates. Bytes, before and after rendering.
inline constexpr int kMaxActiveTemplates = 2000;     // Of an app: every process holds all of them.
inline constexpr int kKeptTemplateVersions = 50;     // Of a type, channel and locale.
inline constexpr int kMaxSectionDepth = 8;           // Sections in sections: a renderer's recursion.
inline constexpr int kMaxRenderSteps = 100'000;      // Tags and texts of one rendering: some 20 ms.
inline constexpr size_t kMustacheCacheTexts = 1000;  // Parsed texts a thread keeps, and
inline constexpr size_t kMustacheCacheBytes = 4 * 1024 * 1024;
inline constexpr size_t kMaxTemplateTextBytes = 64 * 1024;
inline constexpr size_t kMaxTemplateHtmlBytes = 256 * 1024;
inline constexpr size_t kMaxTemplateSmsBytes = 1600;
inline constexpr size_t kMaxSubjectBytes = 2000;  // A header line; RFC 5322 folds it.
inline constexpr size_t kMaxTextBytes = 128 * 1024;
inline constexpr size_t kMaxHtmlBytes = 512 * 1024;
inline constexpr size_t kMaxSmsCharacters = 1600;  // Providers take no more.
inline constexpr size_t kMaxPushTitleBytes = 500;  // Longer is cut: a push message
inline constexpr size_t kMaxPushBodyBytes = 2000;  // has 4096 bytes in all.
inline constexpr int kMaxTrackedLinks = 1000;      // A signed link is longer than the one it stands for.
inline constexpr size_t kMaxPushLinkBytes = 1000;  // Half a link is none: refused.

// --- People.
inline constexpr size_t kMaxDeviceTokenBytes = 4096;  // FCM names no bound; theirs have some 200.
inline constexpr size_t kMaxReasonBytes = 255;        // Why an address is suppressed.
inline constexpr size_t kMaxQuietSpans = 28;          // Four a day.
inline constexpr int kMaxPreferences = 200;           // Of a recipient or an app: each decision looks through them.
inline constexpr int kMaxMutesInCall = 100;
inline constexpr absl::Duration kMaxDoNotDisturb = absl::Hours(24 * 366);  // How far ahead it may end.
// Of a call that erases or exports: it walks through what no index leads to.
inline constexpr absl::Duration kPersonDeadline = absl::Seconds(60);

// --- Policies of types.
inline constexpr int kMaxCaps = 10;                                   // Each is counted before a delivery.
inline constexpr int kMaxCapLimit = 1000;                             // What is counted is kept, message by message.
inline constexpr absl::Duration kMinPolicyWindow = absl::Seconds(1);  // Of caps and aggregation.
inline constexpr absl::Duration kMaxPolicyWindow = absl::Hours(24 * 31);

// --- Providers.
inline constexpr int kMaxProviders = 10;  // Of an app's channel: each is asked in turn.
inline constexpr absl::Duration kMinProviderTimeout = absl::Milliseconds(100);
inline constexpr absl::Duration kMaxProviderTimeout = absl::Seconds(30);
inline constexpr int kMaxProviderConcurrency = 1000;
inline constexpr absl::Duration kMinReceiptWait = absl::Seconds(1);
inline constexpr absl::Duration kMaxReceiptWait = absl::Minutes(10);
inline constexpr size_t kMaxPemBytes = 64 * 1024;  // A chain of certificates, a key.
inline constexpr size_t kMaxServiceAccountBytes = 16 * 1024;
inline constexpr size_t kMaxProviderSecretBytes = 1000;  // Passwords and API keys.
inline constexpr size_t kMaxUrlBytes = 2000;
inline constexpr size_t kMaxEmailBytes = 254;  // RFC 5321, a path without its brackets.
inline constexpr int kMaxWebhookSecrets = 5;
inline constexpr int kReleaseStep = 500;     // Held deliveries that one transaction puts into the outbox.
inline constexpr int kMaxReleaseSteps = 10;  // Per lane and call; the workers go on.

// --- Dead letters.
inline constexpr size_t kMaxDeadLetterIds = 1000;  // Named in one filter.
inline constexpr int kMaxDeadLetterGroups = 1000;
inline constexpr size_t kMaxOperatorBytes = 255;
inline constexpr int kMaxReplayRate = 10'000;      // Letters per second.
inline constexpr int kMaxReplayStep = 1000;        // Letters in one transaction.
inline constexpr int kMaxReplays = 100;            // Of one letter.
inline constexpr int kMaxReplayFailures = 10'000;  // In a row.
inline constexpr size_t kMaxRunningReplays = 4;    // Of a server: each has a thread.
inline constexpr absl::Duration kPurgeDeadline = absl::Seconds(60);
// What was put back, or had ended, is forgotten so long after it died.
inline constexpr absl::Duration kKeepReplayed = absl::Hours(24 * 30);

// --- Statistics.
inline constexpr int kMaxStatsDays = 400;     // As long as they are kept.
inline constexpr int kMaxStatsRows = 10'000;  // What a client takes in one message, 4 MiB.

// --- Messages.
inline constexpr int kDeliveryLimit = 10;              // Deliveries that end in a dead consumer.
inline constexpr int64_t kQueueMaxLength = 2'000'000;  // Then the broker refuses and the outbox keeps.
inline constexpr size_t kMaxPackBytes = 256 * 1024;    // Of the rows that share a message.
inline constexpr size_t kMaxErrorBytes = 1000;         // Of an error that is stored or sent on.

}  // namespace carillon::limits
