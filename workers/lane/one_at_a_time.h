// A place that one consumer of a process may be in at a time.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace carillon {

// Thread-safe. Tried, never waited for: whoever waits has heartbeats to answer.
class OneAtATime {
 public:
  // True if nobody is in it; then Leave must follow.
  [[nodiscard]] bool TryEnter() {
    absl::MutexLock lock(&mutex_);
    if (taken_) return false;
    taken_ = true;
    return true;
  }
  void Leave() {
    absl::MutexLock lock(&mutex_);
    taken_ = false;
  }

 private:
  absl::Mutex mutex_;
  bool taken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace carillon
