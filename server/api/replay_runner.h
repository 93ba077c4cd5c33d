// Runs that put dead letters back, at their rate, on threads of their own.
#pragma once

#include <atomic>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/replay_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/executor.h"
#include "server/api/dead_letter_requests.h"

namespace carillon {

// How far a run is.
struct ReplayProgress {
  Replay replay;
  double rate = 0;           // Letters per second, measured.
  absl::Duration remaining;  // About; infinite: nobody knows.
};

// Whoever asked for a run. Its methods are called on the run's thread and must not block.
class ReplaySink {
 public:
  virtual ~ReplaySink() = default;
  // At least once a second, and with the end.
  virtual void OnProgress(const ReplayProgress& progress) = 0;
  // Once, last. OK: the progress before says how it ended.
  virtual void OnEnd(const absl::Status& status) = 0;
  // Nobody waits for it any more: it is interrupted.
  virtual bool is_cancelled() const = 0;
};

// Thread-safe. At most limits::kMaxRunningReplays at once.
class ReplayRunner {
 public:
  struct Deps {
    std::shared_ptr<ReplayStore> store;
    OutboxWaker& waker;
    // Interrupts them all.
    const StopSignal& stop;
    // For letters that others hold: a transaction takes less.
    absl::Duration wait_for_others = absl::Seconds(10);
  };
  explicit ReplayRunner(Deps deps);

  // Begins; `plan` may block. RESOURCE_EXHAUSTED if there are too many: then the sink
  // hears nothing.
  absl::Status Start(absl::AnyInvocable<absl::StatusOr<ReplayPlan>()> plan, std::shared_ptr<ReplaySink> sink);
  // Returns when none runs. The stop signal must have been set.
  void Stop() { executor_.Stop(); }

 private:
  const Deps deps_;
  std::atomic<size_t> running_ = 0;
  Executor executor_;
};

}  // namespace carillon
