#include "server/api/replay_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "carillon/ports/monotonic.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;

// So many letters, of which others hold some for a while.
class LettersInMemory final : public ReplayStore {
 public:
  explicit LettersInMemory(int64_t letters) : left_(letters), matched_(letters) {}

  absl::StatusOr<ReplayRun> Begin(const ReplayOrder& order) override {
    ReplayRun run{.replay = {.id = NewUuid7(absl::FromUnixSeconds(1'800'000'000)), .order = order}};
    run.replay.counts.matched = matched_;
    return run;
  }
  absl::StatusOr<ReplayRun> Rehearse(const ReplayOrder& order) override {
    absl::StatusOr<ReplayRun> run = Begin(order);
    run->is_rehearsal = true;
    return run;
  }
  absl::StatusOr<ReplayRun> Resume(const Uuid& id, const std::string&) override {
    return error::NotFound("replay", id.ToString());
  }
  absl::StatusOr<std::vector<Lane>> Step(ReplayRun& run, int limit) override {
    absl::MutexLock lock(&mutex_);
    steps_.push_back(limit);
    if (fails_ > 0) {
      --fails_;
      return error::BackendUnavailable("postgresql", "away");
    }
    if (std::exchange(unknown_, false)) {
      attend_fails_ = true;
      return error::BackendUnavailable("postgresql", "no answer");
    }
    stepped_unattended_ += attend_fails_;
    // What is left is found by a look from the start.
    if (!run.looks_again && run.position == 0) {
      run.position = 1;
      run.replay.counts.poison += poison_;
      if (poison_ > 0) return std::vector<Lane>();
    }
    if (always_held_ && run.looks_again) {
      run.replay.counts.replayed += run.position == 0;
      run.position = 1;
      return std::vector<Lane>();
    }
    const int64_t free = std::max<int64_t>(0, left_ - held_);
    const int64_t taken = std::min<int64_t>(limit, free);
    if (taken == 0) held_ = 0;
    left_ -= taken;
    run.replay.counts.replayed += taken;
    return taken > 0 ? std::vector<Lane>{Lane::kOtp} : std::vector<Lane>();
  }
  absl::StatusOr<int> PurgeStep(ReplayRun&, int) override { return 0; }
  absl::StatusOr<bool> HasMore(const ReplayRun&) override {
    absl::MutexLock lock(&mutex_);
    return always_held_ || left_ > 0;
  }
  absl::StatusOr<bool> Attend(ReplayRun& run, int streak) override {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(attend_fails_, false)) return error::BackendUnavailable("postgresql", "away");
    return run.replay.counts.replayed >= deaths_after_ && streak > 0;
  }
  absl::Status Finish(ReplayRun& run, ReplayState state, const std::string& detail) override {
    run.replay.state = state;
    run.replay.detail = detail;
    return absl::OkStatus();
  }
  absl::StatusOr<Uuid> NoteShown(const ReplayOrder&, std::optional<Uuid>, int) override { return Uuid(); }
  absl::StatusOr<std::vector<Replay>> List(std::optional<Uuid>, int) override { return std::vector<Replay>(); }

  void SetHeld(int64_t held) { held_ = held; }
  void SetFails(int fails) { fails_ = fails; }
  void SetPoison(int64_t poison) { poison_ = poison; }
  // At every look somebody holds some, and one is free.
  void SetAlwaysHeld() { always_held_ = true; }
  // Of a step nobody knows what came, and then the store is away once more.
  void SetUnknown() { unknown_ = true; }
  int stepped_unattended() const { return stepped_unattended_; }
  void SetDeathsAfter(int64_t replayed) { deaths_after_ = replayed; }
  std::vector<int> steps() const {
    absl::MutexLock lock(&mutex_);
    return steps_;
  }

 private:
  mutable absl::Mutex mutex_;
  int64_t left_;
  const int64_t matched_;
  int64_t held_ = 0;
  int fails_ = 0;
  int64_t poison_ = 0;
  bool always_held_ = false;
  bool unknown_ = false;
  bool attend_fails_ = false;
  int stepped_unattended_ = 0;
  int64_t deaths_after_ = std::numeric_limits<int64_t>::max();
  std::vector<int> steps_;
};

class RecordedSink final : public ReplaySink {
 public:
  void OnProgress(const ReplayProgress& progress) override {
    absl::MutexLock lock(&mutex_);
    newest_ = progress;
  }
  void OnEnd(const absl::Status& status) override {
    status_ = status;
    ended_.Notify();
  }
  bool is_cancelled() const override { return cancelled_; }

  void Cancel() { cancelled_ = true; }
  absl::Status Wait() {
    EXPECT_TRUE(ended_.WaitForNotificationWithTimeout(absl::Seconds(30)));
    return status_;
  }
  Replay replay() const {
    absl::MutexLock lock(&mutex_);
    return newest_.replay;
  }

 private:
  mutable absl::Mutex mutex_;
  ReplayProgress newest_;
  std::atomic<bool> cancelled_ = false;
  absl::Status status_;
  absl::Notification ended_;
};

class CountingWaker final : public OutboxWaker {
 public:
  void Wake(Lane lane) override { lanes_ += lane == Lane::kOtp; }
  int lanes() const { return lanes_; }

 private:
  std::atomic<int> lanes_ = 0;
};

class ReplayRunnerTest : public ::testing::Test {
 protected:
  ~ReplayRunnerTest() override {
    if (!stop_.is_set()) stop_.Set();
  }
  void MakeRunner(int64_t letters) {
    store_ = std::make_shared<LettersInMemory>(letters);
    runner_ = std::make_unique<ReplayRunner>(
        ReplayRunner::Deps{.store = store_, .waker = waker_, .stop = stop_, .wait_for_others = wait_for_others_});
  }
  static ReplayPlan Plan(int rate = 10'000) {
    return {.order = {.app = AppId(1), .reason = "fixed", .filter = {}, .max_replays = 5},
            .rate = rate,
            .stop_after_failures = 20};
  }
  std::shared_ptr<RecordedSink> Start(const ReplayPlan& plan) {
    auto sink = std::make_shared<RecordedSink>();
    EXPECT_OK(runner_->Start([plan] { return plan; }, sink));
    return sink;
  }

  CountingWaker waker_;
  StopSignal stop_;
  absl::Duration wait_for_others_ = absl::Seconds(10);
  std::shared_ptr<LettersInMemory> store_;
  std::unique_ptr<ReplayRunner> runner_;
};

TEST_F(ReplayRunnerTest, ReplaysAllAtItsRateAndWakesTheRelay) {
  MakeRunner(200);
  const absl::Duration began = Monotonic();
  const auto sink = Start(Plan(/*rate=*/500));
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().counts.replayed, 200);
  EXPECT_EQ(sink->replay().state, ReplayState::kDone);
  // Four steps of 50, with 100 ms after each; a machine may be slow, but never fast.
  EXPECT_GE(Monotonic() - began, absl::Milliseconds(300));
  EXPECT_EQ(waker_.lanes(), 4);
}

TEST_F(ReplayRunnerTest, LooksAtNoMoreThanItsLimit) {
  MakeRunner(200);
  ReplayPlan plan = Plan();
  plan.order.limit = 30;
  const auto sink = Start(plan);
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().counts.replayed, 30);
}

TEST_F(ReplayRunnerTest, LooksAgainAtWhatOthersHeld) {
  MakeRunner(100);
  store_->SetHeld(40);
  const auto sink = Start(Plan());
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().counts.replayed, 100);
}

TEST_F(ReplayRunnerTest, CountsWhatItLeavesOnceHoweverOftenItLooks) {
  MakeRunner(70);
  store_->SetPoison(30);
  store_->SetHeld(40);
  const auto sink = Start(Plan());
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().counts.replayed, 70);
  EXPECT_EQ(sink->replay().counts.poison, 30);
}

TEST_F(ReplayRunnerTest, EndsThoughOthersHoldSomeAtEveryLook) {
  wait_for_others_ = absl::Milliseconds(50);
  MakeRunner(10);
  store_->SetAlwaysHeld();
  store_->SetHeld(10);
  const auto sink = Start(Plan());
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().state, ReplayState::kDone);
}

TEST_F(ReplayRunnerTest, DoesNothingUntilItKnowsWhatTheLastStepDid) {
  MakeRunner(10);
  store_->SetUnknown();
  const auto sink = Start(Plan());
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(store_->stepped_unattended(), 0);
  EXPECT_EQ(sink->replay().counts.replayed, 10);
}

TEST_F(ReplayRunnerTest, IsInterruptedWhenNobodyWaitsForIt) {
  MakeRunner(1'000'000);
  const auto sink = Start(Plan(/*rate=*/10));
  sink->Cancel();
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().state, ReplayState::kInterrupted);
}

TEST_F(ReplayRunnerTest, IsInterruptedWhenItsServerStops) {
  MakeRunner(1'000'000);
  const auto sink = Start(Plan(/*rate=*/10));
  stop_.Set();
  EXPECT_THAT(sink->Wait(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(sink->replay().state, ReplayState::kInterrupted);
}

TEST_F(ReplayRunnerTest, StopsWhenAllDieAgain) {
  MakeRunner(1'000'000);
  store_->SetDeathsAfter(1'000);
  const auto sink = Start(Plan());
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().state, ReplayState::kFailing);
  EXPECT_EQ(sink->replay().detail, "the newest 20 all died again");
}

TEST_F(ReplayRunnerTest, WaitsForTheStore) {
  MakeRunner(10);
  store_->SetFails(2);
  const auto sink = Start(Plan());
  ASSERT_OK(sink->Wait());
  EXPECT_EQ(sink->replay().counts.replayed, 10);
}

TEST_F(ReplayRunnerTest, RefusesMoreThanItsThreadsAtOnce) {
  MakeRunner(1'000'000);
  std::vector<std::shared_ptr<RecordedSink>> sinks;
  for (size_t i = 0; i < limits::kMaxRunningReplays; ++i) sinks.push_back(Start(Plan(/*rate=*/1)));
  EXPECT_THAT(runner_->Start([] { return Plan(); }, std::make_shared<RecordedSink>()),
              StatusIs(absl::StatusCode::kResourceExhausted));
  stop_.Set();
  for (const auto& sink : sinks) EXPECT_FALSE(sink->Wait().ok());
}

TEST_F(ReplayRunnerTest, TellsWhatIsWrongWithItsPlan) {
  MakeRunner(1);
  const auto sink = std::make_shared<RecordedSink>();
  ASSERT_OK(
      runner_->Start([]() -> absl::StatusOr<ReplayPlan> { return error::InvalidField("rate", "too fast"); }, sink));
  EXPECT_THAT(sink->Wait(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->steps(), IsEmpty());
}

}  // namespace
}  // namespace carillon
