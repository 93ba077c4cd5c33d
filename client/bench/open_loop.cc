#include "client/bench/open_loop.h"

#include "absl/strings/str_cat.h"
#include "client/bench/schedule.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr int kMaxUnanswered = 10'000;

}  // namespace

absl::StatusOr<std::vector<ScheduledSend>> OpenLoop::Run(const std::vector<absl::Duration>& schedule) {
  std::vector<ScheduledSend> sends(schedule.size());
  const absl::Duration start = MonotonicNow();
  bool keeps_up = true;
  for (size_t i = 0; i < schedule.size() && keeps_up; ++i) {
    sends[i].due = start + schedule[i];
    SleepUntil(sends[i].due);
    keeps_up = Begin(sends[i]);
  }
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](int* unanswered) { return *unanswered == 0; }, &unanswered_));
  if (!keeps_up) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", kMaxUnanswered, " calls were unanswered: the rate is more than this system serves"));
  }
  return sends;
}

std::map<std::string, int64_t> OpenLoop::errors() const {
  absl::MutexLock lock(&mutex_);
  return errors_;
}

bool OpenLoop::Begin(ScheduledSend& send) {
  {
    absl::MutexLock lock(&mutex_);
    if (unanswered_ >= kMaxUnanswered) return false;
    ++unanswered_;
  }
  send.drawn = requests_.Next(request_);
  send.begun = MonotonicNow();
  // Each call writes its own element only.
  sender_.Send(request_,
               [this, &send](const absl::Status& status, absl::string_view answer) { OnDone(send, status, answer); });
  return true;
}

void OpenLoop::OnDone(ScheduledSend& send, const absl::Status& status, absl::string_view answer) {
  send.answered = MonotonicNow();
  absl::Status outcome = status;
  if (status.ok()) {
    const absl::StatusOr<std::vector<absl::string_view>> ids = IdsInSendAnswer(answer);
    outcome = ids.status();
    if (ids.ok()) send.notification_id = std::string(ids->front());
  }
  absl::MutexLock lock(&mutex_);
  if (!outcome.ok()) ++errors_[absl::StatusCodeToString(outcome.code())];
  --unanswered_;
}

}  // namespace carillon::bench
