#include "server/ingest/recurrence_ticker.h"

#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/cron.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);

prometheus::Counter& CounterOf(Metrics& metrics, const char* outcome) {
  return metrics.Counter("carillon_recurrences_total", "Occurrences of recurrences", {{"outcome", outcome}});
}

// What is done with one step's recurrences: first all are prepared, then what is to be
// sent is accepted, the notifications in one statement.
class Step {
 public:
  explicit Step(const RecurrenceTicker::Deps& deps) : deps_(deps) {}

  void Prepare(const DueRecurrence& due) {
    const absl::StatusOr<std::optional<absl::Time>> next_time = NextTimeOf(due.recurrence, due.app_time);
    if (!next_time.ok()) return PutOff(due, next_time.status());
    const Turning turning{.id = due.recurrence.id, .next_time = *next_time};
    absl::StatusOr<Occurrence> occurrence = deps_.prepare(due);
    if (!occurrence.ok()) return Finish(turning, occurrence.status());
    if (const auto* event = std::get_if<NewEvent>(&*occurrence)) {
      if (deps_.is_open(Lane::kFanout) && deps_.is_open(event->event.lane)) events_.emplace_back(turning, *event);
      return;
    }
    auto& notification = std::get<NewNotification>(*occurrence);
    if (!deps_.is_open(notification.notification.lane)) return;
    senders_.push_back(turning);
    notifications_.push_back(std::move(notification));
  }

  void Accept() {
    AcceptNotifications();
    for (const auto& [sender, event] : events_) {
      const absl::Status status = deps_.events->Accept(event).status();
      Finish(sender, status);
      if (IsInfrastructureFailure(status)) break;
      if (status.ok()) lanes_.insert(Lane::kFanout);
    }
    for (const Lane lane : lanes_) deps_.waker.Wake(lane);
  }

  std::vector<RecurrenceTurn> TakeTurns() { return std::move(turns_); }
  // What passes by itself: something has no turn for it.
  const absl::Status& failure() const { return failure_; }

 private:
  // A recurrence, and what it goes on with when this occurrence is over.
  struct Turning {
    Uuid id;
    std::optional<absl::Time> next_time;
  };

  void AcceptNotifications() {
    if (notifications_.empty()) return;
    const auto outcomes = deps_.notifications->Accept(notifications_, /*all_or_nothing=*/false);
    if (outcomes.ok() || IsInfrastructureFailure(outcomes.status())) return FinishNotifications(0, outcomes);
    // Something in one of them: each by itself, so that it is refused alone.
    for (size_t i = 0; i < notifications_.size(); ++i) {
      FinishNotifications(i, deps_.notifications->Accept({&notifications_[i], 1}, /*all_or_nothing=*/false));
    }
  }

  // Of those from the first on that were accepted together.
  void FinishNotifications(size_t first, const absl::StatusOr<std::vector<AcceptOutcome>>& outcomes) {
    if (!outcomes.ok()) return Finish(senders_[first], outcomes.status());
    for (size_t i = 0; i < outcomes->size(); ++i) {
      const absl::Status& status = (*outcomes)[i].status;
      Finish(senders_[first + i], status);
      if (status.ok()) lanes_.insert(notifications_[first + i].notification.lane);
    }
  }

  void Finish(const Turning& turning, const absl::Status& status) {
    if (IsInfrastructureFailure(status)) return failure_.Update(status);
    AddTurn(turning.id, turning.next_time, status);
  }

  // Nothing is sent, or it would be at every look: another server may read it by then.
  void PutOff(const DueRecurrence& due, const absl::Status& why) {
    AddTurn(due.recurrence.id, due.app_time + RecurrenceTicker::kPutOff, why);
  }

  void AddTurn(const Uuid& id, std::optional<absl::Time> next_time, const absl::Status& status) {
    if (!status.ok()) {
      log::Warn("recurrence.refused",
                {{"recurrence_id", id.ToString()}, {"code", absl::StatusCodeToString(status.code())}});
    }
    turns_.push_back({.id = id, .next_time = next_time, .error = std::string(status.message())});
  }

  const RecurrenceTicker::Deps& deps_;
  std::vector<Turning> senders_;  // As many as notifications.
  std::vector<NewNotification> notifications_;
  std::vector<std::pair<Turning, NewEvent>> events_;
  std::set<Lane> lanes_;
  std::vector<RecurrenceTurn> turns_;
  absl::Status failure_;
};

}  // namespace

absl::StatusOr<std::optional<absl::Time>> NextTimeOf(const Recurrence& recurrence, absl::Time after) {
  absl::TimeZone zone;
  if (!recurrence.time_zone.empty() && !absl::LoadTimeZone(recurrence.time_zone, &zone)) {
    return error::Internal(absl::StrCat("the server can't read the time zone ", recurrence.time_zone));
  }
  const absl::StatusOr<CronExpression> cron = CronExpression::Parse(recurrence.cron);
  if (!cron.ok()) return error::Internal(absl::StrCat("the server can't read the cron: ", cron.status().message()));
  return cron->Next(after, zone);
}

RecurrenceTicker::RecurrenceTicker(Deps deps)
    : deps_(std::move(deps)),
      accepted_(CounterOf(deps_.metrics, "accepted")),
      refused_(CounterOf(deps_.metrics, "refused")) {}

void RecurrenceTicker::Start() {
  thread_ = std::thread([this] { Run(); });
}

void RecurrenceTicker::Stop() {
  if (!stop_.is_set()) stop_.Set();
  if (thread_.joinable()) thread_.join();
}

void RecurrenceTicker::Run() {
  bool works = true;
  while (!stop_.WaitFor(kInterval)) {
    const absl::Status status = Tick();
    if (status.ok() && !works) log::Info("recurrence.changed", {{"works", true}});
    if (!status.ok() && works) log::Warn("recurrence.changed", {{"works", false}, {"error", status}});
    works = status.ok();
  }
}

// Of one moment: what becomes due meanwhile is for the next look, so this one ends.
absl::Status RecurrenceTicker::Tick() {
  RecurrenceStore::DueQuery query{.now = deps_.clock.Now(), .after = {}, .limit = kStep};
  do {
    absl::Status failure;
    ASSIGN_OR_RETURN(query.after, deps_.recurrences->RunDue(query, [&](absl::Span<const DueRecurrence> due) {
      return CarryOut(due, failure);
    }));
    RETURN_IF_ERROR(failure);
  } while (query.after.has_value() && !stop_.is_set());
  return absl::OkStatus();
}

std::vector<RecurrenceTurn> RecurrenceTicker::CarryOut(absl::Span<const DueRecurrence> due, absl::Status& failure) {
  Step step(deps_);
  for (const DueRecurrence& one : due) step.Prepare(one);
  step.Accept();
  failure = step.failure();
  std::vector<RecurrenceTurn> turns = step.TakeTurns();
  for (const RecurrenceTurn& turn : turns) (turn.error.empty() ? accepted_ : refused_).Increment();
  return turns;
}

}  // namespace carillon
