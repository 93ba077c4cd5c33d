#include "client/bench/windowed_load.h"

#include <utility>

#include "absl/time/clock.h"

namespace carillon::bench {
namespace {

constexpr absl::Duration kLook = absl::Microseconds(500);
// A server that refuses everything is not asked for the rest of the time.
constexpr int64_t kMaxErrors = 100;

}  // namespace

WindowedLoad::WindowedLoad(const Options& options, Submit submit, Arrived arrived)
    : options_(options),
      submit_(std::move(submit)),
      arrived_(std::move(arrived)),
      arrived_before_(arrived_()),
      thread_([this] { Run(); }) {}

void WindowedLoad::Stop() {
  stopped_ = true;
  if (thread_.joinable()) thread_.join();
  absl::MutexLock lock(&mutex_);
  const auto answered = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return begun_ == accepted_ + failed_; };
  mutex_.Await(absl::Condition(&answered));
}

int64_t WindowedLoad::accepted() const {
  absl::MutexLock lock(&mutex_);
  return accepted_;
}

std::map<std::string, int64_t> WindowedLoad::errors() const {
  absl::MutexLock lock(&mutex_);
  return errors_;
}

void WindowedLoad::Run() {
  while (!stopped_) {
    if (!MayBegin()) {
      absl::SleepFor(kLook);
      continue;
    }
    {
      absl::MutexLock lock(&mutex_);
      begun_ += options_.per_call;
    }
    submit_([this](const absl::Status& status, absl::string_view) { OnDone(status); });
  }
}

bool WindowedLoad::MayBegin() const {
  const int64_t arrived = arrived_() - arrived_before_;
  absl::MutexLock lock(&mutex_);
  return failed_ < kMaxErrors * options_.per_call && begun_ - failed_ - arrived + options_.per_call <= options_.window;
}

void WindowedLoad::OnDone(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  (status.ok() ? accepted_ : failed_) += options_.per_call;
  if (!status.ok()) ++errors_[absl::StatusCodeToString(status.code())];
}

}  // namespace carillon::bench
