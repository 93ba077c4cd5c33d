// An open loop: calls begin when they are due, whatever became of those before.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/bench/raw_sender.h"
#include "client/bench/send_requests.h"

namespace carillon::bench {

// A call of the schedule and what became of it; times by MonotonicNow.
struct ScheduledSend {
  absl::Duration due;
  absl::Duration begun;
  absl::Duration answered;
  SendRequests::Drawn drawn;
  std::string notification_id;
};

class OpenLoop {
 public:
  // Both outlive it; `requests` is its own while it runs.
  OpenLoop(RawSender& sender, SendRequests& requests) : sender_(sender), requests_(requests) {}

  // Sends at these offsets from now; blocks until the last answer. Latencies are
  // to be taken from `due`: what a full system delays is not left out. An error:
  // so many were unanswered that the system does not serve this rate.
  absl::StatusOr<std::vector<ScheduledSend>> Run(const std::vector<absl::Duration>& schedule);

  // Errors by the name of their code.
  std::map<std::string, int64_t> errors() const;

 private:
  bool Begin(ScheduledSend& send);
  void OnDone(ScheduledSend& send, const absl::Status& status, absl::string_view answer);

  RawSender& sender_;
  SendRequests& requests_;
  std::string request_;
  mutable absl::Mutex mutex_;
  int unanswered_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int64_t> errors_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon::bench
