// What a worker knows of the queues that it consumes, for those who ask how fast they
// move. Consumers count as they go, by an atomic add; a reporter tells it once a second.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/pressure_store.h"

namespace carillon {

// Of one queue; shared by all that consume it. Thread-safe.
class QueueMeter {
 public:
  explicit QueueMeter(const Clock& clock) : clock_(clock) {}

  // A message was taken that was accepted then. The newest counts; one of the future is by
  // a sandbox's clock, and tells nothing.
  void Take(absl::Time accepted);
  // So many messages are done with, and so many things in them.
  void Settle(int64_t messages, int64_t items);
  // So many messages come back after this time, for another attempt.
  void PutOff(int64_t messages, absl::Duration time) ABSL_LOCKS_EXCLUDED(mutex_);

  // Without names.
  QueueReport Read() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Clock& clock_;
  std::atomic<int64_t> messages_ = 0;
  std::atomic<int64_t> items_ = 0;
  std::atomic<int64_t> newest_us_ = 0;  // 0: nothing was taken.

  absl::Mutex mutex_;
  // By second, so that it stays short: retries come back within half a minute.
  std::deque<std::pair<int64_t, int64_t>> put_off_ ABSL_GUARDED_BY(mutex_);
};

// Thread-safe. Meters live as long as this.
class QueueMeters {
 public:
  explicit QueueMeters(const Clock& clock) : clock_(clock) {}

  // Look it up once and keep the reference.
  QueueMeter& Of(const std::string& queue) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of all queues, without the process's name.
  std::vector<QueueReport> Read() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Clock& clock_;
  absl::Mutex mutex_;
  std::vector<std::pair<std::string, std::unique_ptr<QueueMeter>>> meters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
