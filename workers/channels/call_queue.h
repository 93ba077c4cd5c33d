// What a transport's thread is given to do.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace carillon {

// Calls on their way to the thread that makes them, and the count of those that have
// not ended. Thread-safe.
template <typename Call>
class CallQueue {
 public:
  explicit CallQueue(size_t max_calls) : max_calls_(max_calls) {}

  // Takes the call, unless it is closed or too many have not ended.
  [[nodiscard]] bool Push(std::unique_ptr<Call>& call) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || open_calls_ >= max_calls_) return false;
    ++open_calls_;
    waiting_.push_back(std::move(call));
    return true;
  }

  // All that wait, in order.
  std::vector<std::unique_ptr<Call>> Take() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(waiting_, {});
  }

  // One that was pushed has ended.
  void NoteEnd() {
    absl::MutexLock lock(&mutex_);
    --open_calls_;
  }

  // False if it was closed before.
  bool Close() {
    absl::MutexLock lock(&mutex_);
    return !std::exchange(closed_, true);
  }
  bool closed() const {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }

 private:
  const size_t max_calls_;
  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<Call>> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t open_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace carillon
