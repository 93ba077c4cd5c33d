#include "server/pressure/queue_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "carillon/domain/limits.h"
#include "server/pressure/delay.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::carillon::testing::SimulatedClock;
using ::carillon::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::Optional;

struct Backends {
  std::map<std::string, QueueStats> queues;
  absl::Status broker;
  PressureFacts facts;
  absl::Status store;
  std::atomic<int> looks = 0;
};

class FakeBroker final : public TopologyAdmin {
 public:
  explicit FakeBroker(Backends& backends) : backends_(backends) {}
  absl::Status Declare(const Topology&) override { return absl::OkStatus(); }
  absl::StatusOr<QueueStats> Inspect(const std::string& queue) override {
    if (!backends_.broker.ok()) return backends_.broker;
    return backends_.queues[queue];
  }

 private:
  Backends& backends_;
};

class FakeStore final : public PressureStore {
 public:
  explicit FakeStore(Backends& backends) : backends_(backends) {}
  absl::Status Report(absl::Span<const QueueReport>) override { return absl::OkStatus(); }
  absl::StatusOr<PressureFacts> Read(absl::Span<const std::string>) override {
    ++backends_.looks;
    if (!backends_.store.ok()) return backends_.store;
    return backends_.facts;
  }
  absl::StatusOr<int> ForgetReports(absl::Duration) override { return 0; }

 private:
  Backends& backends_;
};

class QueueMonitorTest : public ::testing::Test {
 protected:
  QueueMonitorTest() {
    for (const QueueSpec& spec : CarillonTopology().queues) backends_.queues[spec.name].declared = true;
    for (const Lane lane : kAllLanes) backends_.facts.outbox.push_back({.lane = lane, .oldest_age = {}});
  }

  void Report(const std::string& queue, const std::string& process, int64_t messages, int64_t items) {
    for (QueueReport& report : backends_.facts.reports) {
      if (report.queue != queue || report.process != process) continue;
      report.messages = messages;
      report.items = items;
      return;
    }
    backends_.facts.reports.push_back(
        {.queue = queue, .process = process, .messages = messages, .items = items, .live = true});
  }
  OutboxStats& OutboxOf(Lane lane) { return backends_.facts.outbox[static_cast<size_t>(lane)]; }
  QueueMonitor::SamplePtr LookAfter(absl::Duration time) {
    clock_.Advance(time);
    monitor_.Look();
    return monitor_.newest();
  }

  Backends backends_;
  SimulatedClock clock_;
  Metrics metrics_;
  QueueMonitor monitor_{{.objectives = *ParseObjectives("")},
                        {.broker = std::make_unique<FakeBroker>(backends_),
                         .store = std::make_shared<FakeStore>(backends_),
                         .clock = clock_,
                         .metrics = metrics_}};
};

TEST_F(QueueMonitorTest, TellsHowFastAQueueMovesFromWhatItsWorkersReport) {
  Report("marketing", "a", 1000, 50'000);
  LookAfter(absl::ZeroDuration());
  // What was done before the first look is of no rate; another process counts from zero.
  Report("marketing", "a", 1100, 60'000);
  Report("marketing", "b", 100, 10'000);
  backends_.queues["marketing"].messages = 50;
  const auto sample = LookAfter(absl::Seconds(10));
  const QueueSample& queue = *sample->Find("marketing");
  EXPECT_THAT(queue.out_rate, DoubleNear(20, 0.01));
  EXPECT_THAT(queue.in_rate, DoubleNear(25, 0.01));
  const LaneSample& lane = sample->Of(Lane::kMarketing);
  EXPECT_THAT(lane.out_rate, DoubleNear(2000, 1));
  // A message holds a hundred.
  EXPECT_EQ(lane.backlog, 5000);
}

TEST_F(QueueMonitorTest, WhatACrashOfTheStoreLostCountsOnce) {
  Report("otp", "a", 1000, 1000);
  LookAfter(absl::ZeroDuration());
  const std::vector<QueueReport> before = std::exchange(backends_.facts.reports, {});
  LookAfter(absl::Seconds(5));
  backends_.facts.reports = before;
  EXPECT_EQ(LookAfter(absl::Seconds(5))->Find("otp")->out_rate, 0);
}

TEST_F(QueueMonitorTest, ALaneIsDelayedByItsOutboxOrItsQueues) {
  OutboxOf(Lane::kPayment) = {.lane = Lane::kPayment, .rows = 30, .oldest_age = absl::Seconds(6)};
  backends_.queues["social.like"].messages = 0;
  LookAfter(absl::ZeroDuration());
  backends_.queues["social.like"].messages = 300;
  LookAfter(absl::Seconds(5));
  const auto sample = LookAfter(absl::Seconds(40));
  EXPECT_TRUE(sample->Of(Lane::kPayment).delayed);
  EXPECT_EQ(sample->Of(Lane::kPayment).estimated_wait, std::nullopt);  // Nothing moves.
  EXPECT_TRUE(sample->Of(Lane::kSocial).delayed);
  EXPECT_THAT(absl::ToDoubleSeconds(sample->Of(Lane::kSocial).oldest_age), DoubleNear(45, 0.5));
  EXPECT_FALSE(sample->Of(Lane::kOtp).delayed);
}

TEST_F(QueueMonitorTest, EstimatesByWhatWaitsAndHowFastItGoes) {
  Report("social", "a", 0, 0);
  backends_.queues["social"].messages = 1000;
  LookAfter(absl::ZeroDuration());
  Report("social", "a", 500, 500);
  backends_.queues["social"].messages = 500;
  const auto sample = LookAfter(absl::Seconds(50));
  const LaneSample& lane = sample->Of(Lane::kSocial);
  EXPECT_TRUE(lane.delayed);
  EXPECT_THAT(lane.out_rate, DoubleNear(10, 0.1));
  ASSERT_TRUE(lane.estimated_wait.has_value());
  EXPECT_THAT(absl::ToDoubleSeconds(*lane.estimated_wait), DoubleNear(50, 1));
}

TEST_F(QueueMonitorTest, WithoutTheBrokerTheOutboxStillSpeaks) {
  backends_.queues["otp"].messages = 7;
  LookAfter(absl::ZeroDuration());
  backends_.broker = absl::UnavailableError("away");
  OutboxOf(Lane::kOtp) = {.lane = Lane::kOtp, .rows = 3, .oldest_age = absl::Seconds(20)};
  const auto sample = LookAfter(absl::Seconds(5));
  EXPECT_FALSE(sample->broker_reached);
  EXPECT_FALSE(sample->Find("otp")->declared);
  EXPECT_EQ(sample->Find("otp")->messages, 7);
  EXPECT_TRUE(sample->Of(Lane::kOtp).delayed);
  EXPECT_EQ(sample->Of(Lane::kOtp).backlog, 10);
}

TEST_F(QueueMonitorTest, WithoutTheStoreItsMeasuresAreToldToBeOld) {
  const auto gauge = [&](const char* name) { return metrics_.Gauge(name, "").Value(); };
  LookAfter(absl::ZeroDuration());
  const double looked = gauge("carillon_pressure_sample_time_seconds");
  EXPECT_EQ(looked, static_cast<double>(absl::ToUnixSeconds(clock_.Now())));
  backends_.store = absl::DeadlineExceededError("statement timeout");
  const auto sample = LookAfter(absl::Seconds(30));
  EXPECT_EQ(sample->time, clock_.Now());
  EXPECT_EQ(gauge("carillon_pressure_sample_time_seconds"), looked);
  EXPECT_EQ(gauge("carillon_pressure_broker_up"), 1);
  backends_.store = absl::OkStatus();
  LookAfter(absl::Seconds(5));
  EXPECT_EQ(gauge("carillon_pressure_sample_time_seconds"), looked + 35);
}

TEST_F(QueueMonitorTest, RetriesAreOfTheLanesAndOfThoseWhoPutThemOff) {
  backends_.queues["otp.retry.5"].messages = 4;
  Report("otp.sms", "a", 0, 0);
  backends_.facts.reports.back().retrying = 4;
  Report("otp.sms", "gone", 0, 0);
  backends_.facts.reports.back().retrying = 9;
  backends_.facts.reports.back().live = false;
  backends_.facts.dead["otp.sms"] = 2;
  const auto sample = LookAfter(absl::ZeroDuration());
  EXPECT_EQ(sample->Of(Lane::kOtp).retrying, 4);
  EXPECT_EQ(sample->Of(Lane::kOtp).dead, 2);
  EXPECT_EQ(sample->Find("otp.sms")->retrying, 4);
}

TEST_F(QueueMonitorTest, AnswersManyWhoAskWithOneLook) {
  monitor_.Start();
  std::atomic<int> answers = 0;
  absl::Notification all;
  constexpr int kAskers = 100;
  for (int i = 0; i < kAskers; ++i) {
    monitor_.WhenSampled([&](const QueueMonitor::SamplePtr& sample) {
      EXPECT_NE(sample, nullptr);
      if (++answers == kAskers) all.Notify();
    });
  }
  EXPECT_TRUE(all.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_LE(backends_.looks, 3);
}

TEST_F(QueueMonitorTest, AnswersWhoeverWaitsWhenItStops) {
  int answers = 0;
  const auto count = [&answers](const QueueMonitor::SamplePtr& sample) {
    EXPECT_EQ(sample, nullptr);
    ++answers;
  };
  for (size_t i = 0; i <= limits::kMaxSampleWaiters; ++i) monitor_.WhenSampled(count);
  EXPECT_EQ(answers, 1);  // One more than may wait.
  monitor_.Stop();
  EXPECT_EQ(answers, limits::kMaxSampleWaiters + 1);
  monitor_.WhenSampled(count);
  EXPECT_EQ(answers, limits::kMaxSampleWaiters + 2);
}

TEST_F(QueueMonitorTest, RemembersDepths) {
  for (int i = 0; i < 10; ++i) {
    backends_.queues["marketing"].messages = i;
    LookAfter(absl::Seconds(5));
  }
  const auto history = monitor_.HistorySince(clock_.Now() - absl::Seconds(20)).at("marketing");
  ASSERT_EQ(history.size(), 5);
  EXPECT_EQ(history.front().second, 5);
  EXPECT_EQ(history.back(), std::pair(clock_.Now(), int64_t{9}));
}

// --- Delays.
NotificationRecord RecordOf(Lane lane, absl::Time accepted, State state = State::kQueued) {
  NotificationRecord record{
      .notification = {.id = NewUuid7(accepted), .lane = lane, .create_time = accepted, .expire_time = {}},
      .state = state};
  return record;
}

class DelayTest : public QueueMonitorTest {
 protected:
  // Marketing is 12 min behind, and takes ten a second.
  QueueMonitor::SamplePtr Behind() {
    OutboxOf(Lane::kMarketing) = {.lane = Lane::kMarketing, .rows = 12'000, .oldest_age = absl::Minutes(12)};
    Report("marketing", "a", 0, 0);
    LookAfter(absl::ZeroDuration());
    Report("marketing", "a", 100, 100);
    return LookAfter(absl::Seconds(10));
  }
};

TEST_F(DelayTest, SaysHowFarBehindTheLaneIsAndWhenItsTurnComes) {
  const auto sample = Behind();
  const absl::Time now = clock_.Now();
  const auto delay = DelayOf(*sample, RecordOf(Lane::kMarketing, now), {}, now);
  ASSERT_TRUE(delay.has_value());
  EXPECT_EQ(delay->queue, "marketing");
  EXPECT_EQ(delay->oldest_age, absl::Minutes(12));
  // 12 000 at ten a second.
  ASSERT_TRUE(delay->estimated_time.has_value());
  EXPECT_THAT(absl::ToDoubleSeconds(*delay->estimated_time - now), DoubleNear(1200, 1));
  // Its turn should have come: about now.
  const auto old = DelayOf(*sample, RecordOf(Lane::kMarketing, now - absl::Hours(2)), {}, now);
  EXPECT_THAT(old->estimated_time, Optional(now));
}

TEST_F(DelayTest, TellsNoneOfWhatHasEndedOrWaitsForATime) {
  const auto sample = Behind();
  const absl::Time now = clock_.Now();
  for (const State state : {State::kDelivered, State::kSuppressed, State::kDead, State::kScheduled, State::kHeld}) {
    EXPECT_EQ(DelayOf(*sample, RecordOf(Lane::kMarketing, now, state), {}, now), std::nullopt);
  }
  EXPECT_EQ(DelayOf(*sample, RecordOf(Lane::kSocial, now), {}, now), std::nullopt);
}

TEST_F(DelayTest, NamesTheChannelThatADeliveryWaitsFor) {
  backends_.queues["otp.sms"].messages = 0;
  LookAfter(absl::ZeroDuration());
  backends_.queues["otp.sms"].messages = 50;
  LookAfter(absl::Seconds(5));
  const auto sample = LookAfter(absl::Seconds(20));
  const absl::Time now = clock_.Now();
  DeliveryRecord sms{
      .id = NewUuid7(now), .channel = Channel::kSms, .state = DeliveryState::kPending, .finish_time = {}};
  const DeliveryRecord mail{
      .id = NewUuid7(now), .channel = Channel::kEmail, .state = DeliveryState::kPending, .finish_time = {}};
  const auto delay = DelayOf(*sample, RecordOf(Lane::kOtp, now), {mail, sms}, now);
  ASSERT_TRUE(delay.has_value());
  EXPECT_EQ(delay->queue, "otp.sms");
  EXPECT_EQ(delay->estimated_time, std::nullopt);
  sms.state = DeliveryState::kSent;
  EXPECT_EQ(DelayOf(*sample, RecordOf(Lane::kOtp, now), {mail, sms}, now), std::nullopt);
}

TEST(Objectives, AreReadLaneByLane) {
  const auto objectives = ParseObjectives("otp=2s,marketing=1h");
  ASSERT_OK(objectives);
  EXPECT_EQ(objectives->at(Lane::kOtp), absl::Seconds(2));
  EXPECT_EQ(objectives->at(Lane::kMarketing), absl::Hours(1));
  EXPECT_EQ(objectives->at(Lane::kPayment), absl::Seconds(5));
  for (const char* wrong : {"sms=2s", "otp", "otp=soon", "otp=0s", "otp=-1s", "otp=25h"}) {
    EXPECT_THAT(ParseObjectives(wrong), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
  }
}

}  // namespace
}  // namespace carillon
