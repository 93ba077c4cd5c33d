// Whether, when and where a message goes out: one pure function of the message, its
// type, what its recipient and its app have said, and the time. Dry runs call it as the
// workers do; explanations show the trail that it left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/lane.h"
#include "carillon/domain/settings.h"

namespace carillon {

enum class Outcome {
  kSend,       // Now.
  kHold,       // Until a time; then it is decided on again.
  kDigest,     // With the next digest of the channel.
  kInAppOnly,  // Not on this channel: in the feed, which it enters even if it was not for it.
  kSuppress,   // Never.
  kExpire,     // Its ttl is over.
};

// Something that bore on a decision, in the order in which they are asked. What
// let the message pass is named where it was not the default.
struct Rule {
  enum class Gate {
    kExpiry,        // Its ttl is over.
    kCritical,      // Nothing below is asked.
    kRequired,      // A preference, a mute or the type's policy would have kept it away.
    kMutedActor,    // Until, if for a time.
    kMutedObject,   // Until, if for a time.
    kPreference,    // Whose: `level`; what it says: `choice`.
    kDoNotDisturb,  // Until.
    kQuietHours,    // Until.
    kCap,           // `count` of `limit` within `window`, and until when there is no room.
  };
  Gate gate = Gate::kExpiry;
  std::string level;  // "recipient, type like, email"; the policy of a gate that stops: "hold".
  Choice choice = Choice::kOn;
  std::optional<absl::Time> until;
  int64_t count = 0;
  int64_t limit = 0;
  absl::Duration window;

  friend bool operator==(const Rule&, const Rule&) = default;
};

struct ChannelDecision {
  Channel channel = Channel::kInApp;
  Outcome outcome = Outcome::kSend;
  absl::Time until;         // Of kHold.
  std::vector<Rule> rules;  // That it met.

  friend bool operator==(const ChannelDecision&, const ChannelDecision&) = default;
};

// A decision and when it was made, by the app's clock.
struct TrailEntry {
  absl::Time time;
  ChannelDecision decision;
};

// A mute that applies to a message, and until when; infinite: for ever.
using MutedUntil = std::optional<absl::Time>;

struct DecisionInput {
  absl::string_view type;
  bool critical = false;
  bool is_digest = false;  // It does not go into a digest itself.
  const DeliveryPolicy& policy;
  absl::Span<const Channel> channels;
  std::optional<absl::Time> expire_time;
  // Nothing is held longer than anything of it is kept: then it has expired.
  absl::Time kept_until = absl::InfiniteFuture();
  absl::Span<const Preference> app_preferences;
  const RecipientSettings& settings;
  absl::TimeZone zone;  // The recipient's.
  MutedUntil actor_muted_until;
  MutedUntil object_muted_until;
  absl::Time now;
};

// Of every channel, in their order. Caps are asked afterwards, of those that would be
// sent: what is stopped before does not count.
std::vector<ChannelDecision> Decide(const DecisionInput& input);

// How much of a cap is used up, this message included if it was let in.
struct CapUse {
  Cap cap;
  int64_t count = 0;
  bool has_room = true;
  absl::Time next_room;  // When there is again, if not.
};
// The one that stops longest, or leaves the least room. Of at least one.
const CapUse& Tightest(absl::Span<const CapUse> uses);
// What a cap makes of a decision to send.
void ApplyCap(const DecisionInput& input, const CapUse& use, ChannelDecision& decision);

// The time at which a digest that is begun now is sent.
absl::Time NextDigest(const DigestTime& time, absl::Time now, absl::TimeZone zone);

}  // namespace carillon
