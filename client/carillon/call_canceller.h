// Ends a call that blocks, from another thread.
#pragma once

#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace carillon {

// For one call, which must end before it is destroyed. Thread-safe.
class CallCanceller {
 public:
  // The call ends at once, also if it has not begun yet.
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    is_cancelled_ = true;
    if (cancel_) cancel_();
  }
  bool is_cancelled() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return is_cancelled_;
  }

  // Of the library: how the call is ended, while this lives.
  class Attachment {
   public:
    Attachment(CallCanceller* canceller, std::function<void()> cancel) : canceller_(canceller) {
      if (canceller_ != nullptr) canceller_->Attach(std::move(cancel));
    }
    ~Attachment() {
      if (canceller_ != nullptr) canceller_->Attach(nullptr);
    }
    Attachment(const Attachment&) = delete;
    Attachment& operator=(const Attachment&) = delete;

   private:
    CallCanceller* const canceller_;
  };

 private:
  void Attach(std::function<void()> cancel) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    cancel_ = std::move(cancel);
    if (is_cancelled_ && cancel_) cancel_();
  }

  mutable absl::Mutex mutex_;
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> cancel_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
