// How a thread is told to stop, and how it waits without missing that.
#pragma once

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace carillon {

// Set once, read by any thread. Thread-safe.
class StopSignal {
 public:
  // Idempotent only through the owner: call it once.
  void Set() { stopped_.Notify(); }
  bool is_set() const { return stopped_.HasBeenNotified(); }
  // True if stopped, at once or within the time.
  bool WaitFor(absl::Duration time) const { return stopped_.WaitForNotificationWithTimeout(time); }

 private:
  absl::Notification stopped_;
};

}  // namespace carillon
