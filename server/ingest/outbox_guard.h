// Keeps the outbox bounded, and what matters most going. While the broker is away, or
// slower than what is sent, rows gather there; past bounds a lane takes no more until they
// have become fewer.
//
// - A bound is of a lane's own rows and of all lanes' rows together. By the latter marketing
//   is refused first, then social and events, then otp, and payment last: what the light
//   ones have filled is always room that the heavy ones still have.
// - What was refused opens again at 90 % of its bound, so that it does not flicker.
// - The answer tells when to come again, by how fast the rows become fewer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "carillon/domain/lane.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/upkeep_store.h"
#include "carillon/runtime/metrics.h"
#include "carillon/runtime/outbox_gauges.h"

namespace carillon {

// By lane, in the order of Lane.
using LaneRows = std::array<int64_t, kAllLanes.size()>;

// The bounds of the lanes, and nothing else. Immutable.
class OutboxBounds {
 public:
  explicit OutboxBounds(int64_t rows) : rows_(rows) {}

  // So many rows of its own close a lane; so many of all lanes.
  int64_t OwnOf(Lane lane) const;
  int64_t TotalOf(Lane lane) const;
  // How many rows have to go before a closed lane opens: of its own, and of all; negative or
  // zero where they stand in no way.
  int64_t OwnExcess(Lane lane, const LaneRows& rows) const;
  int64_t TotalExcess(Lane lane, const LaneRows& rows) const;
  // Whether the lane is closed with so many rows, after it was or was not.
  bool IsClosed(Lane lane, const LaneRows& rows, bool was_closed) const;

 private:
  const int64_t rows_;
};

class OutboxGuard {
 public:
  struct Deps {
    std::shared_ptr<UpkeepStore> store;
    const Clock& clock;
    Metrics& metrics;
  };

  OutboxGuard(int64_t bound_rows, Deps deps);

  // Looks at every lane and opens or closes it. Call every second or two: what comes in
  // between is the overshoot. On an error nothing changes. Owner thread only.
  absl::Status Check();

  // OK, or OVERLOADED with a time to come again. Thread-safe, and does not block.
  absl::Status Admit(Lane lane) const;
  // The same of an event that is told with this weight: it takes rows of the fan-out.
  absl::Status AdmitEvent(Lane lane) const;
  bool is_open(Lane lane) const { return !state(lane).closed; }
  int64_t bound(Lane lane) const { return bounds_.OwnOf(lane); }

 private:
  struct LaneState {
    std::atomic<bool> closed = false;
    std::atomic<int64_t> retry_seconds = 1;
    prometheus::Gauge* gauge = nullptr;
    prometheus::Counter* refused = nullptr;
  };
  struct Look {
    absl::Time time;
    LaneRows rows;
  };

  const LaneState& state(Lane lane) const { return lanes_[static_cast<size_t>(lane)]; }
  void Note(absl::Time now, const LaneRows& rows);
  absl::Duration RetryDelay(Lane lane) const;
  absl::Duration TimeFor(int64_t excess, absl::FunctionRef<int64_t(const LaneRows&)> count) const;

  const OutboxBounds bounds_;
  const Deps deps_;
  const OutboxGauges gauges_;
  std::array<LaneState, kAllLanes.size()> lanes_;
  // Of the last seconds, oldest first.
  std::deque<Look> looks_;
};

}  // namespace carillon
