#include "client/ctl/interruption.h"

#include <signal.h>

#include <atomic>

#include "absl/time/time.h"

namespace carillon::ctl {
namespace {

std::atomic<bool> interrupted = false;

}  // namespace

void CatchInterruption() {
  signal(SIGINT, [](int) { interrupted = true; });
  signal(SIGTERM, [](int) { interrupted = true; });
}

bool IsInterrupted() { return interrupted; }

CancelOnInterruption::CancelOnInterruption(CallCanceller& canceller)
    : thread_([this, &canceller] {
        // A handler may neither lock nor notify: look at what it set now and then.
        while (!is_over_.WaitForNotificationWithTimeout(absl::Milliseconds(100))) {
          if (IsInterrupted()) return canceller.Cancel();
        }
      }) {}

CancelOnInterruption::~CancelOnInterruption() {
  is_over_.Notify();
  thread_.join();
}

}  // namespace carillon::ctl
