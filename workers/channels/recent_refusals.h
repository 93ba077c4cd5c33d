// Tells a broken configuration from single bad addresses.
#pragma once

#include <bitset>
#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace carillon {

// Which of the last results were refusals of the address. Thread-safe.
class RecentRefusals {
 public:
  // Adds a result. True if, of the last 50, at least 10 and more than half were refusals.
  bool AddAndJudge(bool refused) {
    absl::MutexLock lock(&mutex_);
    results_[next_] = refused;
    next_ = (next_ + 1) % kWindow;
    count_ += count_ < kWindow ? 1 : 0;
    return results_.count() >= kMinRefusals && results_.count() * 2 > count_;
  }

 private:
  static constexpr size_t kWindow = 50;
  static constexpr size_t kMinRefusals = 10;

  absl::Mutex mutex_;
  std::bitset<kWindow> results_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace carillon
