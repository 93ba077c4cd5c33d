#include "client/carillon/timer.h"

#include <chrono>

namespace carillon {

absl::Duration MonotonicNow() { return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }

Timer::Timer() : thread_([this] { Run(); }) {}

Timer::~Timer() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.Signal();
  }
  thread_.join();
}

Timer::Id Timer::Schedule(absl::Duration delay, absl::AnyInvocable<void()> task) {
  absl::MutexLock lock(&mutex_);
  const Id id(MonotonicNow() + delay, next_number_++);
  const auto position = tasks_.emplace(id, std::move(task)).first;
  if (position == tasks_.begin()) changed_.Signal();
  return id;
}

bool Timer::Cancel(const Id& id) {
  absl::MutexLock lock(&mutex_);
  return tasks_.erase(id) > 0;
}

void Timer::Run() {
  absl::MutexLock lock(&mutex_);
  while (!stopped_) {
    if (tasks_.empty()) {
      changed_.Wait(&mutex_);
      continue;
    }
    const auto first = tasks_.begin();
    const absl::Duration wait = first->first.first - MonotonicNow();
    if (wait > absl::ZeroDuration()) {
      changed_.WaitWithTimeout(&mutex_, wait);
      continue;
    }
    absl::AnyInvocable<void()> task = std::move(first->second);
    tasks_.erase(first);
    mutex_.Unlock();
    task();
    // What the task holds is let go of here, outside the lock.
    task = nullptr;
    mutex_.Lock();
  }
}

}  // namespace carillon
