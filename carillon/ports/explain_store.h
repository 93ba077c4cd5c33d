// What was written down on the way of a notification, and is shown nowhere else.
// Thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/domain/decider.h"
#include "carillon/domain/notification.h"

namespace carillon {

// That a delivery waits for. Once it was sent, the delivery's own words say in what.
struct DigestFacts {
  Uuid id;
  std::optional<absl::Time> due_time;  // By our clock; absent while it is being closed.
};

// Of one delivery, beside its record.
struct DeliveryFacts {
  std::vector<TrailEntry> trail;  // Oldest first.
  std::string wait_cause;         // As in schedules: "provider", "hold", ...; empty: it waits for no time.
  std::optional<DigestFacts> digest;
};

struct DeadLetterFacts {
  std::string message_id;  // Of a delivery: its id.
  std::string queue;
  std::string state;  // "dead"; "moot": it had ended otherwise by then.
  std::string reason;
  std::string error;
  absl::Time dead_time;
};

struct NotificationFacts {
  // False: it was told by an event or by reactions.
  bool came_by_door = false;
  std::vector<TrailEntry> trail;  // Of the feed, oldest first.
  int64_t seq = 0;                // Of its feed item; 0: there is none.
  int64_t actor_count = 0;        // Of that; 0: it is of one notification.
  std::map<Uuid, DeliveryFacts> deliveries;
  std::vector<DeadLetterFacts> dead_letters;  // Oldest first, at most kMaxDeadLetters.
  std::string time_zone;                      // The recipient's; empty: UTC.
};

class ExplainStore {
 public:
  static constexpr int kMaxDeadLetters = 100;

  virtual ~ExplainStore() = default;

  // Empty of what is not there: whether there is such a notification is for others to say.
  virtual absl::StatusOr<NotificationFacts> Read(const FeedKey& recipient, const NotificationId& id) = 0;
};

}  // namespace carillon
