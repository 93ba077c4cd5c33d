// A fixed number of threads and a bounded queue, for work that may block.
#pragma once

#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace carillon {

// Thread-safe.
class Executor {
 public:
  Executor(int threads, size_t queue_limit);
  // Runs what is queued, then returns.
  ~Executor();

  // False if the queue is full or Stop was called; the task was not taken.
  [[nodiscard]] bool Submit(absl::AnyInvocable<void()> task);
  // Takes no more, runs what is queued and returns when all is done. Idempotent.
  void Stop();

 private:
  void Run();

  const size_t queue_limit_;
  absl::Mutex mutex_;
  std::deque<absl::AnyInvocable<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace carillon
