#include "client/bench/live_latency.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/bench/schedule.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// A send that has not arrived by then is missing.
constexpr absl::Duration kArrivalTimeout = absl::Seconds(30);

}  // namespace

LiveLatency::LiveLatency(const BenchOptions& options, const std::string& run_name, std::vector<std::string> types)
    : options_(options),
      user_ids_(UserIds(run_name, options.users)),
      types_(std::move(types)),
      requests_({options.seed, run_name, user_ids_, types_, options.keys}),
      sender_(options.client),
      reader_(options.client),
      client_(options.client),
      streams_(client_, user_ids_, &reader_) {}

// Its streams call back into streams_.
LiveLatency::~LiveLatency() { reader_.EndStreams(); }

absl::Status LiveLatency::Measure(uint64_t seed, double rate, absl::Duration warmup, absl::Duration time,
                                  const CpuMeter& meter) {
  OpenLoop loop(sender_, requests_);
  const std::vector<absl::Duration> schedule = PoissonSchedule(seed, rate, warmup + time);
  // Aside, so that no send waits for it.
  CpuMeter::Reading before;
  std::thread reader([&, begin = MonotonicNow() + warmup] {
    SleepUntil(begin);
    before = meter.Read();
  });
  absl::StatusOr<std::vector<ScheduledSend>> sends = loop.Run(schedule);
  reader.join();
  if (!sends.ok()) return sends.status();
  errors_ = loop.errors();
  absl::flat_hash_set<std::string> wanted;
  sends_.clear();
  for (size_t i = 0; i < sends->size(); ++i) {
    if (!(*sends)[i].notification_id.empty()) wanted.insert((*sends)[i].notification_id);
    if (schedule[i] >= warmup) sends_.push_back(std::move((*sends)[i]));
  }
  arrivals_ = streams_.WaitForArrivals(std::move(wanted), kArrivalTimeout);
  usage_ = CpuMeter::Between(before, meter.Read());
  return absl::OkStatus();
}

LiveLatency::Times LiveLatency::TimesOf(const std::string& type, size_t first_user, size_t end_user) const {
  Times times;
  for (const ScheduledSend& send : sends_) {
    if (!type.empty() && types_[send.drawn.type] != type) continue;
    if (send.drawn.user < first_user || send.drawn.user >= end_user) continue;
    times.lateness.push_back(send.begun - send.due);
    times.answer.push_back(send.answered - send.due);
    const auto arrival = arrivals_.find(send.notification_id);
    if (arrival == arrivals_.end()) {
      ++times.missing;
    } else {
      times.arrival.push_back(arrival->second - send.due);
    }
  }
  return times;
}

}  // namespace carillon::bench
