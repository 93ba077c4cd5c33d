// One lane's way from the outbox to the broker: takes what is ready, publishes it
// with confirms, deletes exactly what was confirmed. Rows stay locked in between,
// so any number of relays share a lane, and a crash frees them: a message may be
// published twice, never lost.
#pragma once

#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "carillon/domain/backoff.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/ports/wake_signal.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Owner thread only.
class LaneRelay {
 public:
  struct Options {
    Lane lane = Lane::kSocial;
    int batch = 500;
    int pack = 1;  // Rows that may share a message.
    // A queue that is consumed is given no more while it holds so many messages: what
    // can't be taken yet stays in the outbox. 0: no bound.
    int64_t window = 0;
    absl::Duration confirm_timeout = absl::Seconds(5);
    // What is due waits for room in the lane's queues, but a batch of it for no longer than this.
    absl::Duration longest_wait_for_room = absl::Seconds(1);
  };
  struct Deps {
    std::unique_ptr<OutboxReader> outbox;
    std::unique_ptr<Publisher> publisher;
    // Looks at queues.
    std::unique_ptr<TopologyAdmin> queues;
    // Set when there may be new rows.
    WakeSignal& wake;
    // Set by this loop when it finds more than it can take at a time; may be null.
    WakeSignal* help = nullptr;
    Metrics& metrics;
    const StopSignal& stop;
    // Nothing is published before the topology has been declared.
    const absl::Notification& declared;
  };

  LaneRelay(const Options& options, Deps deps);

  // Until stop. What was taken is settled before it returns.
  void Run();

 private:
  // Whether the lane's queues hold as much as they should.
  absl::StatusOr<bool> IsAhead();
  // Puts what is due into the outbox, a batch at most. Returns how many rows.
  int Release();
  // Whether the lane's queues are short enough for more than what comes by itself.
  absl::StatusOr<bool> HasRoomForDue();
  // Whether to wait a little after so many rows, so that fuller messages come.
  bool LetsGather(size_t taken) const;
  // Publishes what is ready. Returns how many rows it took.
  absl::StatusOr<size_t> Step();
  absl::Status PublishAndSettle(const std::vector<OutboxRow>& rows);
  OutboxReader::Failure ToFailure(const OutboxRow& row, PublishOutcome outcome);
  absl::Status EnsureBindings(const std::vector<OutboxRow>& rows);
  void WaitForWork(absl::Duration& idle_wait);

  const Options options_;
  const Deps deps_;
  Backoff backoff_;
  absl::Duration next_release_;  // On the monotonic clock, as the next one.
  absl::Duration next_look_;
  absl::Duration idle_look_;
  size_t taken_since_look_ = 0;
  bool is_ahead_ = false;
  absl::Duration forced_release_;
  bool releases_ = true;       // The last release worked.
  bool has_more_due_ = false;  // The last release was a full one.
  prometheus::Counter& confirmed_;
  prometheus::Counter& returned_;
  prometheus::Counter& refused_;
  prometheus::Counter& unknown_;
  prometheus::Counter& messages_;
  prometheus::Histogram& batch_seconds_;
};

}  // namespace carillon
