// A closed loop: so many calls in flight, and with each answer the next begins.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/bench/error_counts.h"
#include "client/bench/ledger.h"
#include "client/bench/workload.h"
#include "client/carillon/client.h"
#include "client/carillon/retry_policy.h"
#include "client/carillon/timer.h"

namespace carillon::bench {

// A call that fails in a way that passes is repeated under the same idempotency
// keys until it succeeds. The first one that fails for good ends the load.
class Load {
 public:
  struct Options {
    int in_flight = 64;
    // Notifications in a call; 1: SendNotification, more: BatchSendNotifications.
    int batch = 1;
    // After this long a call is not repeated any more.
    absl::Duration give_up_after = absl::Seconds(180);
  };

  // All outlive the load.
  Load(Client& client, Workload& workload, Ledger& ledger, ErrorCounts& errors, Options options);

  // Sends everything; blocks until the last answer. Once only. An error: why it
  // ended early. What was accepted is in the ledger, which it closes.
  absl::Status Run();

  // Sends that were answered with the stored answer of an earlier attempt.
  int64_t answered_as_duplicate() const;
  // How long Run took.
  absl::Duration duration() const { return duration_; }

 private:
  // The requests of one call, through all its attempts.
  struct Call;

  void SendNext();
  void Attempt(std::shared_ptr<Call> call);
  void OnAnswer(std::shared_ptr<Call> call, absl::StatusOr<v1::BatchSendNotificationsResponse> answer);
  void Retry(std::shared_ptr<Call> call, const absl::Status& status);
  absl::Status Accept(const Call& call, const v1::BatchSendNotificationsResponse& answer);
  void Fail(const absl::Status& status);

  Client& client_;
  Ledger& ledger_;
  ErrorCounts& errors_;
  const Options options_;
  absl::Duration duration_;

  mutable absl::Mutex mutex_;
  Workload& workload_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t answered_as_duplicate_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  // Last, so that it ends before what its tasks use.
  Timer timer_;
};

}  // namespace carillon::bench
