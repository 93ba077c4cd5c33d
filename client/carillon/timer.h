// Runs tasks when their time has come, on one thread of its own.
#pragma once

#include <cstdint>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace carillon {

// Time since some fixed moment; never jumps.
absl::Duration MonotonicNow();

// Thread-safe. Tasks run one after another, in the order of their times, without
// a lock held; they must not block and must not destroy the timer.
class Timer {
 public:
  // Names a task that was scheduled.
  using Id = std::pair<absl::Duration, uint64_t>;

  Timer();
  // Drops what has not begun and waits for the task that runs.
  ~Timer();

  Id Schedule(absl::Duration delay, absl::AnyInvocable<void()> task);
  // True if the task will not run. False: it has run, runs, or is about to.
  bool Cancel(const Id& id);

 private:
  void Run();

  absl::Mutex mutex_;
  std::map<Id, absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::CondVar changed_;
  std::thread thread_;
};

}  // namespace carillon
