#include "server/feed/stream_waker.h"

#include <algorithm>
#include <utility>

namespace carillon {
namespace {

// What one thread takes of many, so that the others have some too.
constexpr size_t kShare = 512;

}  // namespace

void StreamWaker::Start() {
  for (int i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { Run(); });
}

void StreamWaker::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    stopped_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void StreamWaker::Wake(std::shared_ptr<StreamSink> sink) {
  {
    absl::MutexLock lock(&mutex_);
    if (!stopped_) {
      waiting_.push_back(std::move(sink));
      return;
    }
  }
  sink->OnReady();
}

void StreamWaker::Run() {
  while (true) {
    const Sinks sinks = Take();
    if (sinks.empty()) return;
    for (const std::shared_ptr<StreamSink>& sink : sinks) sink->OnReady();
  }
}

StreamWaker::Sinks StreamWaker::Take() {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || !waiting_.empty(); };
  mutex_.Await(absl::Condition(&ready));
  const auto end = waiting_.begin() + std::min(waiting_.size(), kShare);
  Sinks share(std::move_iterator(waiting_.begin()), std::move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  return share;
}

}  // namespace carillon
