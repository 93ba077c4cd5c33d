// Follows one queue, or one lane, from look to look: how fast it moves, and how old is
// what stands at its head.
//
// What waits is first in, first out. Of each look it keeps how much had come by then: what
// was settled and what waits. The head came between the last look by which no more had
// come than is settled now, and the next: its age is known though nobody has taken it, and
// needs nothing of the messages themselves.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace carillon {

// Counts of messages; of a lane, of notifications.
struct QueueLook {
  absl::Time time;
  int64_t waiting = 0;
  int64_t settled = 0;  // Since any moment; it never falls.
  int64_t items = 0;    // That were in those.
  // When the newest that was taken had been accepted.
  std::optional<absl::Time> newest_taken;
};

// Owner thread only.
class QueueTrack {
 public:
  // Each at a later time than the one before; others are passed over.
  void Add(const QueueLook& look);

  // Of the head, at `now`. Nothing if nothing waits.
  std::optional<absl::Duration> OldestAge(absl::Time now) const;
  // The same, since its acceptance, which may have been long before it came here.
  std::optional<absl::Duration> AgeSinceAcceptance(absl::Time now) const;

  struct Rates {
    double in = 0;
    double out = 0;
    double items_out = 0;
  };
  // Per second, over the last half a minute.
  Rates rates() const;
  // Of late; 1 as long as nobody knows.
  double items_per_message() const { return items_per_message_; }

  int64_t waiting() const { return points_.empty() ? 0 : points_.back().waiting; }
  // How much waited, oldest first, one of each 5 s.
  std::vector<std::pair<absl::Time, int64_t>> History(absl::Time since) const;

 private:
  struct Point {
    int64_t came() const { return waiting + settled; }

    absl::Time time;
    int64_t waiting = 0;
    int64_t settled = 0;
    int64_t items = 0;
    std::optional<absl::Time> newest_taken;
  };

  // The look that rates count from: half a minute old, or the first.
  const Point& Base() const;
  absl::Time HeadCame() const;

  // At least 5 s lie between two, but for the newest.
  std::deque<Point> points_;
  double items_per_message_ = 1;
};

}  // namespace carillon
