// A closed loop for measuring: so many calls in flight, and with each answer the
// next begins. Nothing is repeated: an error is counted and ends in the report.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/bench/raw_sender.h"
#include "client/bench/send_requests.h"

namespace carillon::bench {

// A call that was answered with OK, with what it carried.
struct AnsweredCall {
  absl::Duration begun;  // By MonotonicNow.
  absl::Duration answered;
  absl::Span<const SendRequests::Drawn> drawn;
  absl::Span<const absl::string_view> notification_ids;
};

class ClosedLoop {
 public:
  struct Options {
    int in_flight = 64;
    // Notifications in a call; 1: SendNotification, more: BatchSendNotifications.
    int batch = 1;
  };
  // Told of each answer, one at a time, on the sender's thread.
  using OnAnswer = std::function<void(const AnsweredCall&)>;

  // All outlive the loop; `requests` is its own while it runs.
  ClosedLoop(RawSender& sender, SendRequests& requests, const Options& options, OnAnswer on_answer);
  ~ClosedLoop() { Stop(); }

  // Begins, or goes on after Stop, with so many notifications at most.
  void Start(int64_t count);
  // Waits until all of them are answered or the time is over; false: it is over.
  bool WaitFor(absl::Duration time);
  // Begins no more calls and waits for the last answer.
  void Stop();

  // Notifications that were accepted so far.
  int64_t accepted() const;
  // Errors by the name of their code.
  std::map<std::string, int64_t> errors() const;

 private:
  struct Call;

  void SendNext();
  void OnDone(Call& call, const absl::Status& status, absl::string_view answer);
  absl::Status Accept(Call& call, absl::string_view answer);

  RawSender& sender_;
  const Options options_;
  const OnAnswer on_answer_;

  mutable absl::Mutex mutex_;
  SendRequests& requests_ ABSL_GUARDED_BY(mutex_);
  int64_t left_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t accepted_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int64_t> errors_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon::bench
