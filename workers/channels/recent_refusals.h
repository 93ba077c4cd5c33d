// Tells a broken configuration from single bad addresses, for refusals that mean
// either: a token of another app or environment, or ours are of the wrong one.
#pragma once

#include <atomic>
#include <bitset>
#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "workers/channels/provider.h"

namespace carillon {

// Which of the last results were such refusals. Thread-safe.
class RecentRefusals {
 public:
  // Adds a result, and makes of one that is `refused` what it is: while nothing has
  // been accepted yet no device is forgotten for it, and if of the last 50 results at
  // least 10 and more than half are refusals the sender is at fault.
  void Judge(bool refused, absl::string_view advice, SendResult& result) {
    const bool sender = AddAndJudge(refused);
    if (result.outcome == AttemptOutcome::kAccepted) has_accepted_ = true;
    if (!refused) return;
    if (!has_accepted_) result.device_dead_since.reset();
    if (!sender) return;
    result.outcome = AttemptOutcome::kBadSender;
    result.device_dead_since.reset();
    absl::StrAppend(&result.error, ": so are most devices' tokens; ", advice);
  }

 private:
  bool AddAndJudge(bool refused) {
    absl::MutexLock lock(&mutex_);
    results_[next_] = refused;
    next_ = (next_ + 1) % kWindow;
    count_ += count_ < kWindow ? 1 : 0;
    return results_.count() >= kMinRefusals && results_.count() * 2 > count_;
  }

  static constexpr size_t kWindow = 50;
  static constexpr size_t kMinRefusals = 10;

  absl::Mutex mutex_;
  std::bitset<kWindow> results_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> has_accepted_ = false;
};

}  // namespace carillon
