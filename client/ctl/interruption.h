// Ctrl-C and SIGTERM, for commands that have something to say before they end.
#pragma once

#include <thread>

#include "absl/synchronization/notification.h"
#include "client/carillon/call_canceller.h"

namespace carillon::ctl {

// From now on they don't end the process: they are told by IsInterrupted.
void CatchInterruption();
bool IsInterrupted();

// While it lives, the interruption cancels a call.
class CancelOnInterruption {
 public:
  explicit CancelOnInterruption(CallCanceller& canceller);
  ~CancelOnInterruption();

 private:
  absl::Notification is_over_;
  std::thread thread_;
};

}  // namespace carillon::ctl
