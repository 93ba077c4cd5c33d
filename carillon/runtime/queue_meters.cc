#include "carillon/runtime/queue_meters.h"

namespace carillon {
namespace {

constexpr absl::Duration kClockSkew = absl::Seconds(2);

}  // namespace

void QueueMeter::Take(absl::Time accepted) {
  if (accepted > clock_.Now() + kClockSkew) return;
  const int64_t time = absl::ToUnixMicros(accepted);
  int64_t known = newest_us_.load(std::memory_order_relaxed);
  while (known < time && !newest_us_.compare_exchange_weak(known, time, std::memory_order_relaxed)) {
  }
}

void QueueMeter::Settle(int64_t messages, int64_t items) {
  messages_.fetch_add(messages, std::memory_order_relaxed);
  items_.fetch_add(items, std::memory_order_relaxed);
}

void QueueMeter::PutOff(int64_t messages, absl::Duration time) {
  const int64_t second = absl::ToUnixSeconds(clock_.Now() + time);
  absl::MutexLock lock(&mutex_);
  for (auto& [due, count] : put_off_) {
    if (due != second) continue;
    count += messages;
    return;
  }
  put_off_.emplace_back(second, messages);
}

QueueReport QueueMeter::Read() {
  QueueReport report;
  report.messages = messages_.load(std::memory_order_relaxed);
  report.items = items_.load(std::memory_order_relaxed);
  const int64_t newest = newest_us_.load(std::memory_order_relaxed);
  if (newest > 0) report.newest_taken = absl::FromUnixMicros(newest);
  absl::MutexLock lock(&mutex_);
  const int64_t second = absl::ToUnixSeconds(clock_.Now());
  std::erase_if(put_off_, [second](const auto& one) { return one.first < second; });
  for (const auto& [due, count] : put_off_) report.retrying += count;
  return report;
}

QueueMeter& QueueMeters::Of(const std::string& queue) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, meter] : meters_) {
    if (name == queue) return *meter;
  }
  return *meters_.emplace_back(queue, std::make_unique<QueueMeter>(clock_)).second;
}

std::vector<QueueReport> QueueMeters::Read() {
  std::vector<QueueReport> reports;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, meter] : meters_) {
    reports.push_back(meter->Read());
    reports.back().queue = name;
  }
  return reports;
}

}  // namespace carillon
