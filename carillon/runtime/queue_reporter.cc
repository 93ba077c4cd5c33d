#include "carillon/runtime/queue_reporter.h"

#include <algorithm>
#include <utility>

#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);
// Half of what a reader takes for dead.
constexpr int kMostSilentRounds = 5;

bool Same(const QueueReport& a, const QueueReport& b) {
  return a.queue == b.queue && a.messages == b.messages && a.items == b.items && a.retrying == b.retrying &&
         a.newest_taken == b.newest_taken;
}

}  // namespace

QueueReporter::QueueReporter(std::shared_ptr<PressureStore> store, QueueMeters& meters, std::string process)
    : store_(std::move(store)), meters_(meters), process_(std::move(process)) {}

void QueueReporter::Start() {
  thread_ = std::thread([this] {
    while (!stop_.WaitFor(kInterval)) Tell();
    silent_rounds_ = kMostSilentRounds;
    Tell();
  });
}

void QueueReporter::Stop() {
  if (!thread_.joinable()) return;
  stop_.Set();
  thread_.join();
}

void QueueReporter::Tell() {
  std::vector<QueueReport> reports = meters_.Read();
  for (QueueReport& report : reports) report.process = process_;
  const bool moved = !std::equal(reports.begin(), reports.end(), told_.begin(), told_.end(), Same);
  if (!moved && ++silent_rounds_ < kMostSilentRounds) return;
  const absl::Status status = store_->Report(reports);
  if (!status.ok() && !fails_) log::Warn("queues.not_reported", {{"error", status}});
  fails_ = !status.ok();
  if (!status.ok()) return;
  told_ = std::move(reports);
  silent_rounds_ = 0;
}

}  // namespace carillon
