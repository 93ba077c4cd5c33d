// Events, their audiences, and reactions. Plain data; validated where it enters
// (server/api).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/notification.h"

namespace carillon {

// Who belongs together: the followers of a user, the subscribers of a topic.
enum class GroupKind { kFollowers, kTopic };

absl::string_view ToString(GroupKind kind);

struct Group {
  AppId app;
  GroupKind kind = GroupKind::kFollowers;
  std::string id;  // Whose followers, or which topic.
};

enum class AudienceKind { kFollowers, kTopic, kUsers, kEveryone };

absl::string_view ToString(AudienceKind kind);
std::optional<AudienceKind> ParseAudienceKind(absl::string_view text);

struct Audience {
  AudienceKind kind = AudienceKind::kFollowers;
  std::string id;                  // kFollowers and kTopic.
  std::vector<std::string> users;  // kUsers: sorted byte by byte, each once.
};

// The values are those of carillon.v1.EventState.
enum class EventState { kAccepted = 1, kExpanding = 2, kPaused = 3, kDone = 4, kCancelled = 5, kSuppressed = 6 };

absl::string_view ToString(EventState state);
std::optional<EventState> ParseEventState(absl::string_view text);

// Something that concerns an audience, as accepted.
struct Event {
  Uuid id;
  AppId app;
  Lane lane = Lane::kSocial;  // kSocial or kMarketing.
  std::string type;
  Audience audience;
  std::string actor_id;
  std::string object_id;
  std::string data_json;
  int retention_days = 7;
  absl::Time create_time;
  std::string traceparent;
};

// An event and how far it has come.
struct EventRecord {
  Event event;  // Without audience.users.
  EventState state = EventState::kAccepted;
  std::string detail;
  std::string idempotency_key;
  bool shared = false;  // Stored once for all.
  int64_t audience_size = 0;
  int64_t expanded = 0;
  std::optional<absl::Time> start_time;
  std::optional<absl::Time> finish_time;
  std::map<std::string, int64_t> suppressed;  // Recipients that rules kept it away from, by reason.
  absl::Time read_time;                       // When this was so.
};

// The end of a window in which reactions were gathered.
struct DueWindow {
  AppId app;
  std::string type;
  Uuid id;
  RecipientId recipient;
  std::string object_id;
  absl::Time due_time;  // By the app's clock: it is at least so late.
};

// The next page of one range of an event's audience, after the member `cursor`.
struct FanoutPage {
  AppId app;
  Uuid event_id;
  std::string type;
  int shard = 0;
  std::string cursor;

  friend bool operator==(const FanoutPage&, const FanoutPage&) = default;
};

// The queue that the pages of a lane's events go through.
std::string FanoutQueue(Lane lane);

// A topic's public feed is kept as the feed of a recipient that no caller can
// name: ids of callers have no control characters.
FeedKey TopicFeedKey(AppId app, absl::string_view topic);
bool IsTopicFeed(const FeedKey& key);

// How the reactions of a type are gathered, when they are applied.
struct ReactionWindow {
  Aggregation aggregation;
  absl::Time now;               // By the app's clock.
  absl::Duration clock_offset;  // How far that is ahead of ours.
  // Whether anybody is told outside the feed when it ends; by whom:
  bool tells = false;
  Lane lane = Lane::kSocial;
  std::string exchange;
  std::string routing_key;
  int retention_days = 7;
};

// Somebody's reaction at its version.
struct Reaction {
  AppId app;
  std::string actor_id;
  std::string object_id;
  std::string kind;
  bool active = true;
  int64_t version = 0;
  std::string recipient;  // Whose feed tells of it; empty: nobody's.
  std::string type;       // Of the item; empty without recipient.
  std::string data_json;
  absl::Time accept_time;
  // Of those that were accepted together and share a message; absent in messages
  // from before there were groups.
  std::optional<Uuid> group;
  // Of types that aggregate; null: it is counted for good.
  std::shared_ptr<const ReactionWindow> window;
  // False: it counts, and for its sake nothing changes in the feed.
  bool shown = true;
};

}  // namespace carillon
