#include "client/bench/load.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace carillon::bench {
namespace {

// On top of the client's own repeats, which are over by then.
constexpr absl::Duration kInitialBackoff = absl::Milliseconds(50);
constexpr absl::Duration kMaxBackoff = absl::Seconds(1);

}  // namespace

struct Load::Call {
  std::vector<v1::SendNotificationRequest> requests;
  absl::Duration begun = MonotonicNow();
  JitteredBackoff backoff{kInitialBackoff, kMaxBackoff};
};

Load::Load(Client& client, Workload& workload, Ledger& ledger, ErrorCounts& errors, Options options)
    : client_(client), ledger_(ledger), errors_(errors), options_(options), workload_(workload) {}

absl::Status Load::Run() {
  const absl::Duration begun = MonotonicNow();
  {
    absl::MutexLock lock(&mutex_);
    running_ = options_.in_flight;
  }
  for (int i = 0; i < options_.in_flight; ++i) SendNext();
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](int* running) { return *running == 0; }, &running_));
  duration_ = MonotonicNow() - begun;
  ledger_.Close();
  return failure_;
}

int64_t Load::answered_as_duplicate() const {
  absl::MutexLock lock(&mutex_);
  return answered_as_duplicate_;
}

void Load::SendNext() {
  auto call = std::make_shared<Call>();
  {
    absl::MutexLock lock(&mutex_);
    if (failure_.ok()) call->requests = workload_.Next(options_.batch);
    if (call->requests.empty()) {
      --running_;
      return;
    }
  }
  Attempt(std::move(call));
}

void Load::Attempt(std::shared_ptr<Call> call) {
  if (options_.batch == 1) {
    v1::SendNotificationRequest request = call->requests[0];
    client_.SendNotificationAsync(std::move(request), [this, call](absl::StatusOr<v1::SendNotificationResponse> one) {
      if (!one.ok()) return OnAnswer(call, one.status());
      v1::BatchSendNotificationsResponse answer;
      *answer.add_responses() = *std::move(one);
      OnAnswer(call, std::move(answer));
    });
    return;
  }
  v1::BatchSendNotificationsRequest batch;
  for (const v1::SendNotificationRequest& request : call->requests) *batch.add_requests() = request;
  client_.BatchSendNotificationsAsync(std::move(batch),
                                      [this, call](auto answer) { OnAnswer(call, std::move(answer)); });
}

void Load::OnAnswer(std::shared_ptr<Call> call, absl::StatusOr<v1::BatchSendNotificationsResponse> answer) {
  if (!answer.ok()) {
    if (IsTransient(answer.status()) && MonotonicNow() - call->begun < options_.give_up_after) {
      return Retry(std::move(call), answer.status());
    }
    errors_.CountFinal(answer.status());
    Fail(answer.status());
  } else if (absl::Status status = Accept(*call, *answer); !status.ok()) {
    Fail(status);
  }
  SendNext();
}

void Load::Retry(std::shared_ptr<Call> call, const absl::Status& status) {
  errors_.CountRetried(status);
  const absl::Duration delay = call->backoff.Next();
  timer_.Schedule(delay, [this, call = std::move(call)] { Attempt(call); });
}

absl::Status Load::Accept(const Call& call, const v1::BatchSendNotificationsResponse& answer) {
  if (answer.responses_size() != static_cast<int>(call.requests.size())) {
    return absl::InternalError(
        absl::StrCat(call.requests.size(), " sends were answered with ", answer.responses_size(), " responses"));
  }
  const absl::Duration now = MonotonicNow();
  int duplicates = 0;
  std::vector<AcceptedSend> sends;
  for (int i = 0; i < answer.responses_size(); ++i) {
    const v1::SendNotificationRequest& request = call.requests[i];
    sends.push_back({answer.responses(i).notification().notification_id(), request.user_id(), request.type(),
                     request.idempotency_key(), call.begun, now});
    duplicates += answer.responses(i).duplicate() ? 1 : 0;
  }
  {
    absl::MutexLock lock(&mutex_);
    answered_as_duplicate_ += duplicates;
  }
  return ledger_.Record(sends);
}

void Load::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  failure_.Update(status);
}

}  // namespace carillon::bench
