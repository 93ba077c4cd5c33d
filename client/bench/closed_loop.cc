#include "client/bench/closed_loop.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// A server that refuses everything is not asked for the rest of the time.
constexpr int64_t kMaxErrors = 1'000;

}  // namespace

struct ClosedLoop::Call {
  std::string request;
  std::vector<SendRequests::Drawn> drawn;
  absl::Duration begun;
};

ClosedLoop::ClosedLoop(RawSender& sender, SendRequests& requests, const Options& options, OnAnswer on_answer)
    : sender_(sender), options_(options), on_answer_(std::move(on_answer)), requests_(requests) {}

void ClosedLoop::Start(int64_t count) {
  {
    absl::MutexLock lock(&mutex_);
    left_ = count;
    running_ = options_.in_flight;
  }
  for (int i = 0; i < options_.in_flight; ++i) SendNext();
}

bool ClosedLoop::WaitFor(absl::Duration time) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(
                                     +[](int* running) { return *running == 0; }, &running_),
                                 time);
}

void ClosedLoop::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    left_ = 0;
  }
  WaitFor(absl::InfiniteDuration());
}

int64_t ClosedLoop::accepted() const {
  absl::MutexLock lock(&mutex_);
  return accepted_;
}

std::map<std::string, int64_t> ClosedLoop::errors() const {
  absl::MutexLock lock(&mutex_);
  return errors_;
}

void ClosedLoop::SendNext() {
  auto call = std::make_unique<Call>();
  {
    absl::MutexLock lock(&mutex_);
    const auto size = static_cast<int>(std::min<int64_t>(options_.batch, left_));
    if (size == 0 || failed_ >= kMaxErrors) {
      --running_;
      return;
    }
    left_ -= size;
    if (options_.batch == 1) {
      call->drawn = {requests_.Next(call->request)};
    } else {
      call->drawn = requests_.NextBatch(size, call->request);
    }
  }
  call->begun = MonotonicNow();
  const std::string& request = call->request;
  auto done = [this, call = std::move(call)](const absl::Status& status, absl::string_view answer) {
    OnDone(*call, status, answer);
  };
  options_.batch == 1 ? sender_.Send(request, std::move(done)) : sender_.SendBatch(request, std::move(done));
}

void ClosedLoop::OnDone(Call& call, const absl::Status& status, absl::string_view answer) {
  const absl::Status accepted = status.ok() ? Accept(call, answer) : status;
  if (!accepted.ok()) {
    absl::MutexLock lock(&mutex_);
    ++failed_;
    ++errors_[absl::StrCat(absl::StatusCodeToString(accepted.code()))];
  }
  SendNext();
}

absl::Status ClosedLoop::Accept(Call& call, absl::string_view answer) {
  const absl::Duration now = MonotonicNow();
  const absl::StatusOr<std::vector<absl::string_view>> ids =
      options_.batch == 1 ? IdsInSendAnswer(answer) : IdsInBatchAnswer(answer);
  if (!ids.ok()) return ids.status();
  if (ids->size() != call.drawn.size()) return absl::InternalError("a batch was answered in part");
  on_answer_({call.begun, now, call.drawn, *ids});
  absl::MutexLock lock(&mutex_);
  accepted_ += static_cast<int64_t>(ids->size());
  return absl::OkStatus();
}

}  // namespace carillon::bench
