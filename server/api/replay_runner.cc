#include "server/api/replay_runner.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

// Steps in a second, at most: what is put back comes as a stream and not in waves.
constexpr int kStepsPerSecond = 10;
constexpr absl::Duration kLongestWait = absl::Milliseconds(100);  // Until it is seen that it is cancelled.
constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);
constexpr absl::Duration kAttendInterval = absl::Seconds(1);
constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
constexpr absl::Duration kWaitForStore = absl::Seconds(20);

// One run, from its beginning to its end. Owner thread only.
class ReplayLoop {
 public:
  ReplayLoop(const ReplayRunner::Deps& deps, ReplayPlan plan, ReplaySink& sink)
      : deps_(deps),
        plan_(std::move(plan)),
        sink_(sink),
        batch_(plan_.is_rehearsal ? limits::kMaxReplayStep
                                  : std::clamp(plan_.rate / kStepsPerSecond, 1, limits::kMaxReplayStep)),
        interval_(plan_.is_rehearsal ? absl::ZeroDuration() : absl::Seconds(1) * batch_ / plan_.rate) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(run_, Begin());
    begin_ = next_step_ = Monotonic();
    looked_at_before_ = run_.replay.counts.looked_at();
    log::Info("replay.began", {{"replay_id", run_.replay.id.ToString()}, {"matched", run_.replay.counts.matched}});
    SendProgress();
    while (!end_.has_value()) RETURN_IF_ERROR(Turn());
    // What died again in the last moments counts too.
    if (*end_ == ReplayState::kDone) deps_.store->Attend(run_, plan_.stop_after_failures).IgnoreError();
    RETURN_IF_ERROR(deps_.store->Finish(run_, *end_, detail_));
    log::Info(
        "replay.ended",
        {{"replay_id", run_.replay.id.ToString()}, {"replayed", run_.replay.counts.replayed}, {"detail", detail_}});
    SendProgress();
    return stopped_ ? error::Draining() : absl::OkStatus();
  }

 private:
  absl::StatusOr<ReplayRun> Begin() {
    if (plan_.resumed.has_value()) return deps_.store->Resume(*plan_.resumed, plan_.order.operator_name);
    return plan_.is_rehearsal ? deps_.store->Rehearse(plan_.order) : deps_.store->Begin(plan_.order);
  }

  void End(ReplayState state, std::string detail) {
    end_ = state;
    detail_ = std::move(detail);
  }

  // One step, and what else is due.
  absl::Status Turn() {
    if (sink_.is_cancelled()) return End(ReplayState::kInterrupted, "its call ended"), absl::OkStatus();
    if (deps_.stop.is_set()) {
      stopped_ = true;
      return End(ReplayState::kInterrupted, "its server was stopped"), absl::OkStatus();
    }
    // With counts that may be behind nothing is written.
    if (const absl::Status attended = Attend(); !attended.ok()) return WaitForStore(attended);
    if (end_.has_value()) return absl::OkStatus();
    const absl::Status stepped = Step();
    if (!stepped.ok()) return WaitForStore(stepped);
    failing_since_.reset();
    if (Monotonic() - sent_ >= kProgressInterval) SendProgress();
    if (!end_.has_value()) WaitForNextStep();
    return absl::OkStatus();
  }

  absl::Status Attend() {
    if (Monotonic() - attended_ < kAttendInterval) return absl::OkStatus();
    ASSIGN_OR_RETURN(const bool all_died, deps_.store->Attend(run_, plan_.stop_after_failures));
    attended_ = Monotonic();
    if (all_died) {
      End(ReplayState::kFailing, absl::StrCat("the newest ", plan_.stop_after_failures, " all died again"));
    }
    return absl::OkStatus();
  }

  absl::Status Step() {
    const int64_t before = run_.replay.counts.looked_at();
    int64_t most = batch_;
    if (run_.replay.order.limit > 0) most = std::min(most, run_.replay.order.limit - before);
    if (most <= 0) return End(ReplayState::kDone, ""), absl::OkStatus();
    ASSIGN_OR_RETURN(const std::vector<Lane> lanes, deps_.store->Step(run_, static_cast<int>(most)));
    for (const Lane lane : lanes) deps_.waker.Wake(lane);
    return run_.replay.counts.looked_at() > before ? absl::OkStatus() : LookAgain();
  }

  // No letter was free. Those that others hold are theirs, or free again in a moment: if
  // whoever held them is gone, they are looked at from the start. Not for longer, whatever
  // is found meanwhile: others may hold some at every look.
  absl::Status LookAgain() {
    if (run_.is_rehearsal) return End(ReplayState::kDone, ""), absl::OkStatus();
    ASSIGN_OR_RETURN(const bool has_more, deps_.store->HasMore(run_));
    if (!waiting_since_.has_value()) waiting_since_ = Monotonic();
    if (!has_more || Monotonic() - *waiting_since_ > deps_.wait_for_others) {
      return End(ReplayState::kDone, ""), absl::OkStatus();
    }
    run_.position = 0;
    run_.looks_again = true;
    return absl::OkStatus();
  }

  // What a step did whose outcome is not known is read by the next Attend.
  absl::Status WaitForStore(const absl::Status& status) {
    if (!failing_since_.has_value()) {
      failing_since_ = Monotonic();
      log::Warn("replay.waiting", {{"replay_id", run_.replay.id.ToString()}, {"error", status}});
    }
    if (!IsInfrastructureFailure(status) || Monotonic() - *failing_since_ > kWaitForStore) return status;
    attended_ = -absl::InfiniteDuration();
    deps_.stop.WaitFor(kRetryDelay);
    return absl::OkStatus();
  }

  // Up to a step behind its time it catches up; what it misses beyond that it lets go.
  void WaitForNextStep() {
    const absl::Duration now = Monotonic();
    next_step_ = std::max(next_step_ + interval_, now - interval_);
    while (!deps_.stop.is_set() && !sink_.is_cancelled()) {
      const absl::Duration left = next_step_ - Monotonic();
      if (left <= absl::ZeroDuration()) return;
      if (Monotonic() - sent_ >= kProgressInterval) SendProgress();
      deps_.stop.WaitFor(std::min(left, kLongestWait));
    }
  }

  void SendProgress() {
    sent_ = Monotonic();
    const ReplayCounts& counts = run_.replay.counts;
    const double seconds = absl::ToDoubleSeconds(sent_ - begin_);
    ReplayProgress progress{.replay = run_.replay, .remaining = absl::InfiniteDuration()};
    if (seconds > 0) progress.rate = static_cast<double>(counts.looked_at() - looked_at_before_) / seconds;
    if (progress.rate > 0) {
      const int64_t left = std::max<int64_t>(0, counts.matched - counts.looked_at());
      progress.remaining = absl::Seconds(static_cast<double>(left) / progress.rate);
    }
    sink_.OnProgress(progress);
  }

  const ReplayRunner::Deps& deps_;
  const ReplayPlan plan_;
  ReplaySink& sink_;
  const int batch_;
  const absl::Duration interval_;
  ReplayRun run_;
  int64_t looked_at_before_ = 0;
  absl::Duration begin_, next_step_;
  absl::Duration sent_;
  absl::Duration attended_ = -absl::InfiniteDuration();
  std::optional<absl::Duration> waiting_since_, failing_since_;
  std::optional<ReplayState> end_;
  std::string detail_;
  bool stopped_ = false;
};

}  // namespace

ReplayRunner::ReplayRunner(Deps deps)
    : deps_(std::move(deps)),
      executor_(static_cast<int>(limits::kMaxRunningReplays), /*queue_limit=*/limits::kMaxRunningReplays) {}

absl::Status ReplayRunner::Start(absl::AnyInvocable<absl::StatusOr<ReplayPlan>()> plan,
                                 std::shared_ptr<ReplaySink> sink) {
  const absl::Status full = error::Overloaded("what this server replays at once", absl::Seconds(5));
  if (running_.fetch_add(1) >= limits::kMaxRunningReplays) {
    running_.fetch_sub(1);
    return full;
  }
  const bool taken = executor_.Submit([this, plan = std::move(plan), sink = std::move(sink)]() mutable {
    const auto leave = absl::MakeCleanup([this] { running_.fetch_sub(1); });
    absl::StatusOr<ReplayPlan> planned = plan();
    sink->OnEnd(planned.ok() ? ReplayLoop(deps_, *std::move(planned), *sink).Run() : planned.status());
  });
  if (!taken) running_.fetch_sub(1);
  return taken ? absl::OkStatus() : full;
}

}  // namespace carillon
