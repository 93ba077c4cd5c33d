#include "workers/relay/housekeeper.h"

#include <algorithm>
#include <utility>

#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

// Far more than a call's deadline, a commit's and any sane clock's difference.
constexpr absl::Duration kLatestCommit = absl::Minutes(5);
constexpr int kSweepRows = 20'000;
constexpr int kMaxSweepsPerRun = 50;
constexpr int kRetireFeeds = 200;  // Heads locked at a time: others wait for little.
constexpr int kMaxRetireStepsPerRun = 100;
constexpr int kExpireKeys = 2'000;
constexpr int kExpireEvents = 500;
constexpr absl::Duration kStuckOutbox = absl::Seconds(5);
constexpr int kMaxExpireStepsPerRun = 20;
constexpr int kRequeueRows = 1'000;
constexpr int kForgetRows = 1'000;
// What is told of a digest after that is told by its notification.
constexpr absl::Duration kKeepDigests = absl::Hours(24 * 30);
// A queue with consumers gets through so many well within any idle bound.
constexpr int64_t kShortQueue = 1'000;
// As the reaction store writes it.
constexpr absl::string_view kReactionKey = "social.reaction";

}  // namespace

Housekeeper::Housekeeper(Options options, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      outbox_(deps_.metrics),
      requeued_(deps_.metrics.Counter("carillon_requeued_total",
                                      "Notifications that no queue held any more and that were queued again")) {
  for (const QueueSpec& queue : CarillonTopology().queues) {
    if (queue.role != QueueRole::kWork && queue.role != QueueRole::kUnrouted) continue;
    const std::string lane(queue.lane.has_value() ? ToString(*queue.lane) : "");
    queues_.push_back(queue.name);
    dead_letters_.push_back(&deps_.metrics.Gauge("carillon_dead_letters",
                                                 "Recorded dead letters that were neither replayed nor purged",
                                                 {{"lane", lane}, {"queue", queue.name}}));
  }
}

void Housekeeper::Run() {
  bool failing = false;
  do {
    const absl::Status status = RunOnce();
    if (!status.ok() && !failing) log::Warn("housekeeping.waiting", {{"error", status}});
    failing = !status.ok();
  } while (!deps_.stop.WaitFor(options_.interval));
}

// A step that fails keeps none of the others from being taken.
absl::Status Housekeeper::RunOnce() {
  absl::Status status = MakeSlices();
  for (const Lane lane : kNotificationLanes) status.Update(RequeueIdle(lane));
  status.Update(RequeueIdleEvents());
  status.Update(RequeueIdleReactions());
  status.Update(RequeueIdleDeliveries());
  status.Update(ForgetKeptMessages());
  status.Update(Sweep());
  status.Update(MeasureOutbox());
  status.Update(MeasureDeadLetters());
  status.Update(ForgetReplayed());
  status.Update(ExpireKeys());
  status.Update(ForgetDigests());
  status.Update(ExpireEvents());
  status.Update(RetireSlices());
  return status;
}

absl::Status Housekeeper::MakeSlices() {
  const absl::Time now = deps_.clock.Now();
  ASSIGN_OR_RETURN(const int made, deps_.store->EnsureSlices(now - absl::Hours(1), now + options_.slices_ahead));
  if (made > 0) log::Info("slices.made", {{"slices", made}});
  return absl::OkStatus();
}

absl::Status Housekeeper::RetireSlices() {
  for (int step = 0; step < kMaxRetireStepsPerRun && !deps_.stop.is_set(); ++step) {
    ASSIGN_OR_RETURN(const bool more, deps_.store->RetireStep(deps_.clock.Now(), kRetireFeeds));
    if (!more) break;
  }
  return absl::OkStatus();
}

absl::Status Housekeeper::ExpireKeys() {
  for (int step = 0; step < kMaxExpireStepsPerRun; ++step) {
    ASSIGN_OR_RETURN(const int expired, deps_.store->ExpireKeys(deps_.clock.Now(), kExpireKeys));
    if (expired < kExpireKeys) break;
  }
  return absl::OkStatus();
}

absl::Status Housekeeper::ForgetDigests() {
  for (int step = 0; step < kMaxExpireStepsPerRun; ++step) {
    const absl::Time closed_before = deps_.clock.Now() - kKeepDigests;
    ASSIGN_OR_RETURN(const int forgotten, deps_.store->ForgetDigests(closed_before, kForgetRows));
    if (forgotten < kForgetRows) break;
  }
  return absl::OkStatus();
}

// Reads everything when the shortest bound has passed; what is unfinished then is
// remembered, and judged by its own lane's bound. A second pass behind it finds
// what was committed late: a slow commit, a server whose clock is behind.
absl::Status Housekeeper::Sweep() {
  absl::Duration shortest = absl::InfiniteDuration();
  for (const Lane lane : kNotificationLanes) shortest = std::min(shortest, IdleBound(lane));
  absl::Status status = SweepPass(UpkeepStore::Pass::kEarly, shortest);
  status.Update(SweepPass(UpkeepStore::Pass::kLate, shortest + kLatestCommit));
  return status;
}

absl::Status Housekeeper::SweepPass(UpkeepStore::Pass pass, absl::Duration age) {
  for (int step = 0; step < kMaxSweepsPerRun && !deps_.stop.is_set(); ++step) {
    ASSIGN_OR_RETURN(const int read, deps_.store->SweepStep(pass, deps_.clock.Now() - age, kSweepRows));
    if (read < kSweepRows) break;
  }
  return absl::OkStatus();
}

absl::Status Housekeeper::RequeueIdle(Lane lane) {
  const absl::Duration bound = IdleBound(lane);
  // Seen again soon: one that is not idle yet must not wait for twice its bound.
  ASSIGN_OR_RETURN(const std::vector<Notification> idle,
                   deps_.store->DueStragglers(lane, deps_.clock.Now() - bound, bound / 4, kRequeueRows));
  if (idle.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<NewNotification> lost, ChooseLost(idle));
  if (lost.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int written, deps_.store->Reenqueue(lost));
  requeued_.Increment(written);
  log::Warn("housekeeping.requeued", {{"lane", ToString(lane)}, {"notifications", written}});
  return absl::OkStatus();
}

// Where a queue is long, or nobody consumes it, its pages are merely late; where
// rows wait in the outbox, they may be among them.
absl::Status Housekeeper::RequeueIdleEvents() {
  ASSIGN_OR_RETURN(const std::vector<OutboxStats> lanes, deps_.store->Outbox());
  for (const OutboxStats& stats : lanes) {
    if (stats.lane == Lane::kFanout && (stats.deferred > 0 || stats.oldest_age > kStuckOutbox)) return absl::OkStatus();
  }
  for (const Lane lane : {Lane::kSocial, Lane::kMarketing}) {
    ASSIGN_OR_RETURN(const bool held, MayStillHold(FanoutQueue(lane)));
    if (held) continue;
    ASSIGN_OR_RETURN(const int pages,
                     deps_.events->RequeueIdle(lane, deps_.clock.Now() - IdleBound(Lane::kFanout), kRequeueRows));
    if (pages > 0) log::Warn("housekeeping.requeued_pages", {{"queue", FanoutQueue(lane)}, {"pages", pages}});
    requeued_.Increment(pages);
  }
  return absl::OkStatus();
}

// What waits for a provider is in the store, what is under way is claimed, and the
// store leaves alone what is in the outbox: only what a queue has lost is left.
absl::Status Housekeeper::RequeueIdleDeliveries() {
  for (const Lane lane : kNotificationLanes) {
    for (const Channel channel : kExternalChannels) {
      // However short: a slow provider takes its time for each.
      ASSIGN_OR_RETURN(const QueueStats queue, deps_.broker->Inspect(DeliveryQueue(lane, channel)));
      if (queue.messages > 0) continue;
      const absl::Time idle_since = deps_.clock.Now() - IdleBound(lane);
      ASSIGN_OR_RETURN(const int queued, deps_.deliveries->RequeueIdle(lane, channel, idle_since, kRequeueRows));
      if (queued == 0) continue;
      log::Warn("housekeeping.requeued", {{"queue", DeliveryQueue(lane, channel)}, {"deliveries", queued}});
      requeued_.Increment(queued);
    }
  }
  return absl::OkStatus();
}

// Providers try for some hours, Vonage for up to three days unless told otherwise: no
// receipt comes after that.
absl::Status Housekeeper::ForgetKeptMessages() {
  for (int step = 0; step < kMaxExpireStepsPerRun; ++step) {
    const absl::Time sent_before = deps_.clock.Now() - kKeepForReceipt;
    ASSIGN_OR_RETURN(const int forgotten, deps_.deliveries->ForgetKept(sent_before, kForgetRows));
    if (forgotten < kForgetRows) break;
  }
  return absl::OkStatus();
}

// The store leaves alone what is in the outbox. Where rows wait there for long, what
// has just left it looks idle too.
absl::Status Housekeeper::RequeueIdleReactions() {
  ASSIGN_OR_RETURN(const std::vector<OutboxStats> lanes, deps_.store->Outbox());
  for (const OutboxStats& stats : lanes) {
    if (stats.lane == Lane::kSocial && stats.oldest_age > kStuckOutbox) return absl::OkStatus();
  }
  const std::string queue = QueueForRoutingKey(Lane::kSocial, kReactionKey);
  ASSIGN_OR_RETURN(const bool held, MayStillHold(queue));
  if (held) return absl::OkStatus();
  ASSIGN_OR_RETURN(const RequeuedReactions done,
                   deps_.reactions->RequeueIdle(deps_.clock.Now() - IdleBound(Lane::kSocial), kRequeueRows));
  if (done.queued > 0) log::Warn("housekeeping.requeued_reactions", {{"queue", queue}, {"groups", done.queued}});
  requeued_.Increment(done.queued);
  for (const Uuid& group : done.given_up) {
    log::Error("housekeeping.reactions_given_up", {{"group_id", group.ToString()}});
  }
  return absl::OkStatus();
}

absl::Status Housekeeper::ExpireEvents() {
  for (int step = 0; step < kMaxExpireStepsPerRun; ++step) {
    ASSIGN_OR_RETURN(const int expired, deps_.events->Expire(deps_.clock.Now(), kExpireEvents));
    if (expired < kExpireEvents) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NewNotification>> Housekeeper::ChooseLost(const std::vector<Notification>& idle) {
  std::map<std::string, bool> held;
  std::vector<NewNotification> lost;
  for (const Notification& notification : idle) {
    const std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(notification.app, notification.type);
    if (type == nullptr) continue;
    const std::string queue = QueueForRoutingKey(type->lane, type->routing_key);
    if (!held.contains(queue)) {
      ASSIGN_OR_RETURN(held[queue], MayStillHold(queue));
    }
    if (held[queue]) continue;
    NewNotification again{.notification = notification,
                          .exchange = type->exchange,
                          .routing_key = type->routing_key,
                          .idempotency_key = {},
                          .payload_hash = {},
                          .envelope = EncodeEnvelope(notification),
                          .due_time = {}};
    // Where its type belongs today, which may be another lane than when it was accepted.
    again.notification.lane = type->lane;
    lost.push_back(std::move(again));
  }
  return lost;
}

// A long queue, or one that nobody consumes, explains why something is idle. An
// empty one does not; nor does a short one that is being consumed.
absl::StatusOr<bool> Housekeeper::MayStillHold(const std::string& queue) {
  ASSIGN_OR_RETURN(const QueueStats stats, deps_.broker->Inspect(queue));
  return stats.messages > 0 && (stats.consumers == 0 || stats.messages > kShortQueue);
}

absl::Status Housekeeper::MeasureOutbox() {
  ASSIGN_OR_RETURN(const std::vector<OutboxStats> lanes, deps_.store->Outbox());
  outbox_.Set(lanes);
  return absl::OkStatus();
}

absl::Status Housekeeper::MeasureDeadLetters() {
  ASSIGN_OR_RETURN(const std::vector<int64_t> counts, deps_.dead_letters->Count(queues_, limits::kCountedDeadLetters));
  for (size_t i = 0; i < counts.size(); ++i) dead_letters_[i]->Set(static_cast<double>(counts[i]));
  return absl::OkStatus();
}

absl::Status Housekeeper::ForgetReplayed() {
  for (int step = 0; step < kMaxExpireStepsPerRun; ++step) {
    const absl::Time died_before = deps_.clock.Now() - limits::kKeepReplayed;
    ASSIGN_OR_RETURN(const int forgotten, deps_.dead_letters->Forget(died_before, kForgetRows));
    if (forgotten < kForgetRows) break;
  }
  return absl::OkStatus();
}

absl::Duration Housekeeper::IdleBound(Lane lane) const {
  const auto found = options_.idle_bounds.find(lane);
  return found == options_.idle_bounds.end() ? DefaultIdleBound(lane) : found->second;
}

}  // namespace carillon
