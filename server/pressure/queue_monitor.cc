#include "server/pressure/queue_monitor.h"

#include <algorithm>
#include <set>

#include "carillon/domain/limits.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr absl::Duration kForgetInterval = absl::Minutes(1);
// What a process told that is gone; of a queue that nobody has taken from since, it is still worth knowing.
constexpr absl::Duration kReportsKept = absl::Hours(1);
// And their queues, remembered: those that a crash of PostgreSQL has lost come again.
constexpr size_t kMostProcesses = 10'000;

int64_t MessagesOf(const PressureSample& sample, Lane lane, QueueRole role) {
  int64_t messages = 0;
  for (const QueueSample& queue : sample.queues) {
    if (queue.lane == lane && queue.role == role) messages += queue.messages;
  }
  return messages;
}

}  // namespace

QueueMonitor::QueueMonitor(Options options, Deps deps)
    : options_(std::move(options)), deps_(std::move(deps)), gauges_(deps_.metrics, options_.objectives) {
  for (const QueueSpec& spec : CarillonTopology().queues) {
    last_seen_.push_back({.name = spec.name, .lane = spec.lane, .role = spec.role, .oldest_age = {}});
    if (spec.role == QueueRole::kWork || spec.role == QueueRole::kUnrouted) work_queues_.push_back(spec.name);
  }
}

void QueueMonitor::Start() {
  thread_ = std::thread([this] { Run(); });
}

void QueueMonitor::Stop() {
  std::vector<Done> waiting;
  SamplePtr newest;
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    waiting = std::exchange(waiting_, {});
    newest = newest_;
  }
  for (Done& done : waiting) done(newest);
  if (thread_.joinable()) thread_.join();
}

QueueMonitor::SamplePtr QueueMonitor::newest() const {
  absl::MutexLock lock(&mutex_);
  return newest_;
}

void QueueMonitor::WhenSampled(Done done) {
  SamplePtr newest;
  {
    absl::MutexLock lock(&mutex_);
    if (!stopped_ && waiting_.size() < limits::kMaxSampleWaiters) {
      waiting_.push_back(std::move(done));
      return;
    }
    newest = newest_;
  }
  done(newest);
}

QueueMonitor::History QueueMonitor::HistorySince(absl::Time since) const {
  History history;
  absl::MutexLock lock(&mutex_);
  for (const auto& [queue, track] : queue_tracks_) history[queue] = track.History(since);
  return history;
}

void QueueMonitor::Run() {
  while (true) {
    std::vector<Done> waiting;
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return;
      waiting = std::exchange(waiting_, {});
    }
    const absl::Duration began = Monotonic();
    Look();
    const SamplePtr sample = newest();
    for (Done& done : waiting) done(sample);
    ForgetNowAndThen();
    AwaitNext(began);
  }
}

void QueueMonitor::AwaitNext(absl::Duration began) {
  absl::MutexLock lock(&mutex_);
  const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || !waiting_.empty(); };
  mutex_.AwaitWithTimeout(absl::Condition(&wanted), began + options_.interval - Monotonic());
  mutex_.AwaitWithTimeout(absl::Condition(&stopped_), began + options_.least_interval - Monotonic());
}

void QueueMonitor::Look() {
  auto sample = std::make_shared<PressureSample>();
  absl::StatusOr<PressureFacts> facts = deps_.store->Read(work_queues_);
  if (!facts.ok() && !store_fails_) log::Warn("pressure.store_away", {{"error", facts.status()}});
  store_fails_ = !facts.ok();
  if (facts.ok()) {
    facts_ = *std::move(facts);
    facts_time_ = deps_.clock.Now();
    AddReports();
  }
  sample->broker_reached = LookAtBroker(*sample);
  sample->time = deps_.clock.Now();
  sample->store_time = facts_time_;
  sample->outbox = facts_.outbox;
  sample->breakers = facts_.breakers;
  if (facts_known_ || sample->broker_reached) Publish(std::move(sample));
}

bool QueueMonitor::LookAtBroker(PressureSample& sample) {
  std::vector<QueueSample> seen = last_seen_;
  absl::Status status;
  for (QueueSample& queue : seen) {
    const absl::StatusOr<QueueStats> stats = deps_.broker->Inspect(queue.name);
    status = stats.status();
    if (!status.ok()) break;
    queue.declared = stats->declared;
    queue.messages = stats->messages;
    queue.consumers = stats->consumers;
  }
  if (!status.ok() && !broker_fails_) log::Warn("pressure.broker_away", {{"error", status}});
  broker_fails_ = !status.ok();
  if (status.ok()) last_seen_ = seen;
  sample.queues = last_seen_;
  for (QueueSample& queue : sample.queues) queue.declared = queue.declared && status.ok();
  return status.ok();
}

// A process that is met for the first time at the first look had begun before: what it has
// done until then is no part of any rate.
void QueueMonitor::AddReports() {
  if (told_.size() > kMostProcesses) ForgetProcessesThatAreGone();
  for (auto& [queue, settled] : settled_) settled.retrying = 0;
  for (const QueueReport& report : facts_.reports) {
    Settled& settled = settled_[report.queue];
    const auto key = std::pair(report.queue, report.process);
    const auto known = told_.find(key);
    const auto before = known != told_.end() ? known->second
                        : facts_known_       ? std::pair<int64_t, int64_t>(0, 0)
                                             : std::pair(report.messages, report.items);
    settled.messages += std::max<int64_t>(0, report.messages - before.first);
    settled.items += std::max<int64_t>(0, report.items - before.second);
    if (report.live) settled.retrying += report.retrying;
    if (report.newest_taken.has_value()) {
      settled.newest_taken = std::max(settled.newest_taken.value_or(*report.newest_taken), *report.newest_taken);
    }
    told_[key] = {report.messages, report.items};
  }
  facts_known_ = true;
}

// Only those: one that still reports would count once more from its beginning.
void QueueMonitor::ForgetProcessesThatAreGone() {
  std::set<std::pair<std::string, std::string>> present;
  for (const QueueReport& report : facts_.reports) present.emplace(report.queue, report.process);
  std::erase_if(told_, [&](const auto& told) { return !present.contains(told.first); });
}

void QueueMonitor::Publish(std::shared_ptr<PressureSample> sample) {
  {
    absl::MutexLock lock(&mutex_);
    for (QueueSample& queue : sample->queues) AddLook(queue, sample->time, sample->broker_reached);
    for (const Lane lane : kAllLanes) sample->lanes.push_back(LookAtLane(lane, *sample));
    newest_ = sample;
  }
  gauges_.Set(*sample);
}

void QueueMonitor::AddLook(QueueSample& queue, absl::Time now, bool fresh) {
  QueueTrack& track = queue_tracks_[queue.name];
  const Settled& settled = settled_[queue.name];
  if (fresh) {
    track.Add({.time = now,
               .waiting = queue.messages,
               .settled = settled.messages,
               .items = settled.items,
               .newest_taken = settled.newest_taken});
  }
  if (const auto dead = facts_.dead.find(queue.name); dead != facts_.dead.end()) queue.dead = dead->second;
  if (queue.role != QueueRole::kWork) return;
  const QueueTrack::Rates rates = track.rates();
  queue.in_rate = rates.in;
  queue.out_rate = rates.out;
  queue.retrying = settled.retrying;
  // A delivery may have been held for hours before it came here: that is no fault of the queue.
  queue.oldest_age = ChannelOfQueue(queue.name).has_value() ? track.OldestAge(now) : track.AgeSinceAcceptance(now);
}

LaneSample QueueMonitor::LookAtLane(Lane lane, const PressureSample& sample) {
  LaneSample status{.lane = lane, .objective = options_.objectives.at(lane), .estimated_wait = {}};
  QueueLook look{.time = sample.time, .newest_taken = {}};
  for (const OutboxStats& stats : sample.outbox) {
    if (stats.lane != lane) continue;
    look.waiting += stats.rows + stats.deferred;
    status.outbox_age = stats.oldest_age;
  }
  status.oldest_age = status.outbox_age;
  for (const QueueSample& queue : sample.queues) {
    if (queue.lane != lane || queue.role != QueueRole::kWork) continue;
    status.dead += queue.dead;
    if (ChannelOfQueue(queue.name).has_value()) continue;
    status.oldest_age = std::max(status.oldest_age, queue.oldest_age.value_or(absl::ZeroDuration()));
    const double items = static_cast<double>(queue.messages) * queue_tracks_[queue.name].items_per_message();
    look.waiting += static_cast<int64_t>(items);
    look.settled += settled_[queue.name].items;
  }
  look.items = look.settled;
  QueueTrack& track = lane_tracks_[lane];
  track.Add(look);
  const QueueTrack::Rates rates = track.rates();
  status.in_rate = rates.in;
  status.out_rate = rates.out;
  status.backlog = look.waiting;
  status.retrying = MessagesOf(sample, lane, QueueRole::kRetry);
  status.delayed = status.oldest_age > status.objective;
  if (status.delayed) {
    status.estimated_wait = EstimateWait(status.oldest_age, static_cast<double>(status.backlog), status.out_rate);
  }
  return status;
}

void QueueMonitor::ForgetNowAndThen() {
  if (Monotonic() < next_forgetting_) return;
  next_forgetting_ = Monotonic() + kForgetInterval;
  // What can't be forgotten now is forgotten later.
  deps_.store->ForgetReports(kReportsKept).IgnoreError();
}

}  // namespace carillon
