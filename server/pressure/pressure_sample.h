// One look at all queues and lanes. Plain data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/domain/topology.h"
#include "carillon/ports/pressure_store.h"

namespace carillon {

struct QueueSample {
  std::string name;
  std::optional<Lane> lane;
  QueueRole role = QueueRole::kWork;
  bool declared = false;
  int64_t messages = 0;  // Ready.
  int64_t consumers = 0;
  // Messages per second. Of work queues, as all that follows.
  double in_rate = 0;
  double out_rate = 0;
  std::optional<absl::Duration> oldest_age;  // Absent: nothing waits.
  int64_t retrying = 0;
  int64_t dead = 0;
};

// Notifications, as far as they can be told from messages.
struct LaneSample {
  Lane lane = Lane::kSocial;
  absl::Duration objective;
  absl::Duration oldest_age;  // In the outbox or a queue of the first hop.
  absl::Duration outbox_age;
  bool delayed = false;
  // Absent: it is not delayed, or nothing moves.
  std::optional<absl::Duration> estimated_wait;
  double in_rate = 0;
  double out_rate = 0;
  int64_t backlog = 0;
  int64_t retrying = 0;
  int64_t dead = 0;
};

struct PressureSample {
  // Null if there is no such queue.
  const QueueSample* Find(absl::string_view queue) const {
    for (const QueueSample& one : queues) {
      if (one.name == queue) return &one;
    }
    return nullptr;
  }
  const LaneSample& Of(Lane lane) const { return lanes[static_cast<size_t>(lane)]; }

  absl::Time time;
  // When PostgreSQL last answered: what is said of the outbox and of rates is of then.
  absl::Time store_time;
  // False: what is said of queues is of the last look that came to the broker.
  bool broker_reached = false;
  std::vector<QueueSample> queues;  // In the topology's order.
  std::vector<OutboxStats> outbox;
  std::vector<LaneSample> lanes;  // Of all, in the order of Lane.
  std::vector<OpenBreaker> breakers;
};

// When what was accepted `oldest_age` ago is taken at last: so long waits what comes now.
inline std::optional<absl::Duration> EstimateWait(absl::Duration oldest_age, double waiting, double out_rate) {
  if (out_rate <= 0) return std::nullopt;
  return std::max(oldest_age, absl::Seconds(waiting / out_rate));
}

}  // namespace carillon
