// Consumes one queue on one thread: takes what has come, handles it in batches,
// acknowledges each.
//
// - A message is acknowledged only when its effect is committed, or a copy of it
//   is confirmed on its way to another queue.
// - Failures of PostgreSQL or the broker never count against a message: the
//   consumer keeps what it holds, takes no more and waits.
// - What comes a second time may be what killed a process. After a start, or a
//   lost channel, the consumer takes one message at a time until those are
//   settled; met among fresh ones, they are set aside and settled one by one. So
//   a message that kills takes no others with it past the delivery limit, and
//   nothing is ever given back for having come twice.
// - A pack that comes a second time is not tried again: its items go back to the
//   queue as messages of their own, and the one that kills will do so alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "carillon/domain/backoff.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/metrics.h"
#include "carillon/runtime/queue_meters.h"
#include "workers/lane/batch.h"
#include "workers/lane/failure_router.h"
#include "workers/lane/one_at_a_time.h"

namespace carillon {

// Owner thread only, but for the shared parts of Deps.
class LaneConsumer {
 public:
  struct Options {
    std::string queue;
    // Many consumers to the broker, and one batch here of what comes on all.
    Consumer::Window window;
    // Rest after each batch, in times of what the batch took: a lane that can wait
    // leaves the machine to those that can't.
    double rest = 0;
  };
  struct Deps {
    std::unique_ptr<Consumer> broker;
    BatchHandler& handler;
    FailureRouter& failures;
    // One consumer of the process at a time handles what came a second time.
    OneAtATime& careful;
    Metrics& metrics;
    const StopSignal& stop;
    QueueMeter* meter = nullptr;                // Null: nobody asks how fast the queue moves.
    std::function<void()> on_opened = nullptr;  // Called once, when it first consumes the queue.
  };

  LaneConsumer(Options options, Deps deps);

  // Settles what was delivered before, one at a time; returns when the rest is
  // fresh, on stop, or when the broker or the store is away: Run goes on with it.
  void Probe();
  // Consumes until stop, then settles what was delivered and gives nothing back.
  void Run();

 private:
  using Messages = std::vector<InboundMessage>;

  // Both return OK when it is time for the other, or on stop.
  absl::Status ConsumeCarefully();
  absl::Status ConsumeInBatches();
  absl::Status Open(const Consumer::Window& window);
  absl::Status Drain(Messages messages);
  // Settles the fresh ones of these and of what is under way, then the others one by one.
  absl::Status SettleApart(Messages messages);

  // Handles and acknowledges all of them, however long the backends are away.
  // An error: the channel is gone, or the wait was too long; the broker has them back.
  absl::Status Settle(Messages messages);
  absl::Status SettleBatch(const Batch& batch);
  absl::Status Attempt(const Batch& batch);
  absl::Status Handle(const Batch& batch);
  absl::Status HandleAllButItems(const Batch& batch);
  // Tells the meter of a batch that was taken.
  void NoteAge(const Batch& batch);
  absl::Status WaitWhileServicing(absl::Duration time);
  // After a failure: waits, then until the store answers. False on stop.
  bool WaitForBackends();

  const Options options_;
  const Deps deps_;
  const int window_messages_;
  // Something may be there that was delivered before.
  bool begin_carefully_ = false;
  bool was_opened_ = false;
  Backoff backoff_;
  prometheus::Counter& consumed_;
  prometheus::Counter& redelivered_;
  prometheus::Histogram& batch_seconds_;
};

}  // namespace carillon
