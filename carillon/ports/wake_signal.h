// Tells a waiting thread that there may be something to do.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace carillon {

// Thread-safe.
class WakeSignal {
 public:
  // Wakes whoever waits, or the next to wait.
  void Set() {
    absl::MutexLock lock(&mutex_);
    set_ = true;
  }

  // Waits until it is set, at most this long, and takes the signal. True if it was set.
  bool WaitFor(absl::Duration time) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&set_), time);
    const bool was_set = set_;
    set_ = false;
    return was_set;
  }

 private:
  absl::Mutex mutex_;
  bool set_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace carillon
