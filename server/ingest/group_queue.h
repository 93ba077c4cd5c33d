// What callers hand over one by one and one thread takes in groups: what came while
// it wrote the group before. Bounded.
#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/domain/errors.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Requests weigh as many items as they hold. Thread-safe; one thread takes.
template <typename Request>
class GroupQueue {
 public:
  struct Options {
    absl::string_view name;  // In OVERLOADED's words; a literal.
    size_t most_queued = 0;  // Items.
    size_t most_grouped = 0;
    // While busy a group waits a moment until it has so many items, when idle not at all.
    size_t gather = 48;
  };

  GroupQueue(const Options& options, prometheus::Gauge& queued) : options_(options), queued_(queued) {}

  // Moves the request, or leaves it and returns OVERLOADED or DRAINING.
  absl::Status Push(Request& request, size_t items) {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return error::Draining();
    if (items_ + items > options_.most_queued) return error::Overloaded(options_.name, kRetryDelay);
    requests_.emplace_back(std::move(request), items);
    Count(items_ + items);
    return absl::OkStatus();
  }

  // Waits. Empty: stopped, and nothing is left.
  std::vector<Request> Take() {
    const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || !requests_.empty(); };
    const auto enough = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || items_ >= options_.gather; };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&ready));
    if (busy_) mutex_.AwaitWithTimeout(absl::Condition(&enough), kGatherTime);
    std::vector<Request> group;
    size_t grouped = 0;
    while (!requests_.empty()) {
      auto& [request, items] = requests_.front();
      if (!group.empty() && grouped + items > options_.most_grouped) break;
      grouped += items;
      group.push_back(std::move(request));
      requests_.pop_front();
    }
    Count(items_ - grouped);
    busy_ = group.size() >= kBusyRequests;
    return group;
  }

  // Refuses what comes.
  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }

 private:
  // A full queue empties in about this time.
  static constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
  static constexpr absl::Duration kGatherTime = absl::Milliseconds(1);
  static constexpr size_t kBusyRequests = 4;

  void Count(size_t items) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    items_ = items;
    queued_.Set(static_cast<double>(items));
  }

  const Options options_;
  prometheus::Gauge& queued_;
  absl::Mutex mutex_;
  std::deque<std::pair<Request, size_t>> requests_ ABSL_GUARDED_BY(mutex_);
  size_t items_ ABSL_GUARDED_BY(mutex_) = 0;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace carillon
