#include "workers/relay/lane_relay.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"
#include "workers/relay/packer.h"

namespace carillon {
namespace {

constexpr absl::Duration kShortestPoll = absl::Milliseconds(5);
constexpr absl::Duration kLongestPoll = absl::Milliseconds(250);
// When a lane that packs is busy, but not so busy that its messages are full: a
// message costs the broker as much as hundreds of items in it.
constexpr size_t kBusyRows = 16;
constexpr absl::Duration kGatherTime = absl::Milliseconds(3);
constexpr absl::Duration kLookInterval = absl::Milliseconds(20);
constexpr absl::Duration kIdleLookInterval = absl::Seconds(5);
constexpr absl::Duration kReleaseInterval = absl::Milliseconds(500);
// Rows in a lane's queues above which nothing more is released into them: what comes
// now would stand behind it. A tenth of a second of a worker's time, about.
constexpr int64_t kReleaseWindow = 1'000;
constexpr int64_t kLeastReleaseMessages = 10;
constexpr absl::Duration kFirstDelay = absl::Seconds(1);
constexpr absl::Duration kLongestDelay = absl::Seconds(60);
// What got no answer most likely met a broker that was going down.
constexpr absl::Duration kUnknownDelay = absl::Seconds(1);

absl::Duration DelayAfter(int attempts) { return std::min(kLongestDelay, kFirstDelay * (1 << std::min(attempts, 6))); }

prometheus::Counter& OutcomeCounter(Metrics& metrics, Lane lane, const char* outcome) {
  return metrics.Counter("carillon_published_total", "Outbox rows published, by the broker's answer",
                         {{"lane", std::string(ToString(lane))}, {"outcome", outcome}});
}

}  // namespace

LaneRelay::LaneRelay(const Options& options, Deps deps)
    : options_(options),
      deps_(std::move(deps)),
      backoff_(absl::Milliseconds(100), absl::Seconds(3)),
      confirmed_(OutcomeCounter(deps_.metrics, options.lane, "confirmed")),
      returned_(OutcomeCounter(deps_.metrics, options.lane, "returned")),
      refused_(OutcomeCounter(deps_.metrics, options.lane, "refused")),
      unknown_(OutcomeCounter(deps_.metrics, options.lane, "unknown")),
      messages_(deps_.metrics.Counter("carillon_published_messages_total", "Messages that carried the rows published",
                                      {{"lane", std::string(ToString(options.lane))}})),
      batch_seconds_(deps_.metrics.Latency("carillon_relay_batch_seconds", "Time from taking rows to their deletion",
                                           {{"lane", std::string(ToString(options.lane))}})) {}

void LaneRelay::Run() {
  while (!deps_.declared.WaitForNotificationWithTimeout(kLongestPoll)) {
    if (deps_.stop.is_set()) return;
  }
  absl::Duration idle_wait = kShortestPoll;
  idle_look_ = Monotonic() + kIdleLookInterval;
  while (!deps_.stop.is_set()) {
    const absl::StatusOr<size_t> taken = Step();
    absl::Status status = taken.status();
    if (status.ok()) {
      if (backoff_.failures() > 0) log::Info("relay.recovered", {{"lane", ToString(options_.lane)}});
      backoff_.Reset();
      if (*taken > 0) {
        idle_wait = kShortestPoll;
        // A full batch: there is more.
        if (*taken >= static_cast<size_t>(options_.batch)) {
          if (deps_.help != nullptr) deps_.help->Set();
          continue;
        }
        if (LetsGather(*taken)) deps_.stop.WaitFor(kGatherTime);
      }
      WaitForWork(idle_wait);
      continue;
    }
    if (backoff_.failures() == 0) log::Warn("relay.waiting", {{"lane", ToString(options_.lane)}, {"error", status}});
    deps_.stop.WaitFor(backoff_.Next());
    (void)deps_.publisher->Service();
  }
}

bool LaneRelay::LetsGather(size_t taken) const {
  return taken >= kBusyRows && taken < static_cast<size_t>(options_.pack);
}

absl::StatusOr<size_t> LaneRelay::Step() {
  // Where nobody can say it is not: if the broker is away, the publish meets that.
  if (IsAhead().value_or(false)) return 0;
  const int released = Release();
  // Those are older than all others: as many of the others are taken beside them.
  ASSIGN_OR_RETURN(const std::vector<OutboxRow> rows, deps_.outbox->Take(options_.batch + released));
  if (rows.empty()) return 0;
  taken_since_look_ += rows.size();
  const absl::Duration started = Monotonic();
  const absl::Status status = PublishAndSettle(rows);
  if (!status.ok()) {
    // Nothing was sent, or the store is away: the rows are let go as they were.
    (void)deps_.outbox->Release();
    return status;
  }
  batch_seconds_.Observe(absl::ToDoubleSeconds(Monotonic() - started));
  return rows.size();
}

// By time, not when idle: deferred rows must not wait for a backlog to end. While there
// is more than a batch it goes on as fast as the lane's workers.
int LaneRelay::Release() {
  if (Monotonic() < next_release_) return 0;
  if (has_more_due_) {
    next_release_ = Monotonic() + kLookInterval;
    // Where nobody can say, it waits: what is ready does not wait with it. But never for
    // long: a queue that stays full must not keep others' back.
    if (Monotonic() < forced_release_ && !HasRoomForDue().value_or(false)) return 0;
  }
  forced_release_ = Monotonic() + options_.longest_wait_for_room;
  const absl::StatusOr<int> released = deps_.outbox->ReleaseDue(options_.batch);
  has_more_due_ = released.ok() && *released >= options_.batch;
  next_release_ = Monotonic() + (has_more_due_ ? absl::ZeroDuration() : kReleaseInterval);
  // Once, until it works again. What is ready does not wait for what can't be made ready.
  if (!released.ok() && releases_) {
    log::Warn("relay.not_released", {{"lane", ToString(options_.lane)}, {"error", released.status()}});
  }
  releases_ = released.ok();
  return released.value_or(0);
}

absl::StatusOr<bool> LaneRelay::HasRoomForDue() {
  int64_t messages = 0;
  for (const std::string& queue : LaneQueues(options_.lane)) {
    ASSIGN_OR_RETURN(const QueueStats stats, deps_.queues->Inspect(queue));
    messages += stats.messages;
  }
  return messages <= std::max(kLeastReleaseMessages, kReleaseWindow / options_.pack);
}

absl::StatusOr<bool> LaneRelay::IsAhead() {
  if (options_.window == 0) return false;
  const absl::Duration now = Monotonic();
  // Often only after more than a trickle; now and then so that the connection lives.
  const bool matters = is_ahead_ || taken_since_look_ >= static_cast<size_t>(options_.batch);
  if (now < (matters ? next_look_ : idle_look_)) return is_ahead_;
  next_look_ = now + kLookInterval;
  idle_look_ = now + kIdleLookInterval;
  taken_since_look_ = 0;
  is_ahead_ = false;
  bool ahead = false;
  for (const std::string& queue : LaneQueues(options_.lane)) {
    ASSIGN_OR_RETURN(const QueueStats stats, deps_.queues->Inspect(queue));
    ahead = ahead || (stats.consumers > 0 && stats.messages >= options_.window);
  }
  is_ahead_ = ahead;
  return ahead;
}

absl::Status LaneRelay::PublishAndSettle(const std::vector<OutboxRow>& rows) {
  RETURN_IF_ERROR(EnsureBindings(rows));
  const Packs packs = PackRows(rows, options_.pack);
  ASSIGN_OR_RETURN(const std::vector<PublishOutcome> outcomes,
                   deps_.publisher->Publish(packs.messages, options_.confirm_timeout));
  messages_.Increment(static_cast<double>(packs.messages.size()));
  std::vector<OutboxReader::Failure> failures;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i] == PublishOutcome::kConfirmed) continue;
    for (const OutboxRow* row : packs.rows[i]) failures.push_back(ToFailure(*row, outcomes[i]));
  }
  confirmed_.Increment(static_cast<double>(rows.size() - failures.size()));
  if (!failures.empty()) {
    log::Warn("relay.deferred", {{"lane", ToString(options_.lane)},
                                 {"rows", failures.size()},
                                 {"message_id", failures.front().row->message_id.ToString()},
                                 {"error", failures.front().error}});
  }
  return deps_.outbox->Settle(failures);
}

OutboxReader::Failure LaneRelay::ToFailure(const OutboxRow& row, PublishOutcome outcome) {
  switch (outcome) {
    case PublishOutcome::kReturned:
      returned_.Increment();
      return {&row, absl::StrCat("no queue is bound to ", row.exchange, " for ", row.routing_key),
              DelayAfter(row.attempts)};
    case PublishOutcome::kRefused:
      refused_.Increment();
      return {&row, "the broker refused it: the queue is full or failing", DelayAfter(row.attempts)};
    case PublishOutcome::kConfirmed:
    case PublishOutcome::kUnknown:
      break;
  }
  unknown_.Increment();
  return {&row, "the broker did not confirm it in time", kUnknownDelay};
}

// Keys of the direct exchange come from the catalogue: each is bound before its
// first publish. The topic exchange's patterns are part of the topology.
absl::Status LaneRelay::EnsureBindings(const std::vector<OutboxRow>& rows) {
  std::set<absl::string_view> keys;
  for (const OutboxRow& row : rows) {
    if (row.exchange != kDirectExchange || !keys.insert(row.routing_key).second) continue;
    // The key names its lane; a row may be of the lane that its type had before.
    const Lane lane = ParseLane(row.routing_key.substr(0, row.routing_key.find('.'))).value_or(options_.lane);
    const absl::Status bound =
        deps_.publisher->EnsureBinding({row.exchange, row.routing_key, QueueForRoutingKey(lane, row.routing_key)});
    // A queue that does not exist yet: the message comes back and its row waits;
    // the lane's other keys go on.
    if (!bound.ok() && !absl::IsNotFound(bound)) return bound;
  }
  return absl::OkStatus();
}

void LaneRelay::WaitForWork(absl::Duration& idle_wait) {
  deps_.wake.WaitFor(idle_wait);
  idle_wait = std::min(kLongestPoll, idle_wait * 2);
  // Its loss is met, and mended, by the next publish.
  (void)deps_.publisher->Service();
}

}  // namespace carillon
