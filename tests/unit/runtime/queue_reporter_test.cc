#include "carillon/runtime/queue_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::carillon::testing::SimulatedClock;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;

class ReportsInMemory final : public PressureStore {
 public:
  absl::Status Report(absl::Span<const QueueReport> reports) override {
    if (status.ok()) told.assign(reports.begin(), reports.end());
    return status;
  }
  absl::StatusOr<PressureFacts> Read(absl::Span<const std::string>) override { return PressureFacts(); }
  absl::StatusOr<int> ForgetReports(absl::Duration) override { return 0; }

  std::vector<QueueReport> told;
  absl::Status status;
};

class QueueReporterTest : public ::testing::Test {
 protected:
  // What is told in this round.
  std::vector<QueueReport> Tell() {
    store_->told.clear();
    reporter_.Tell();
    return store_->told;
  }

  SimulatedClock clock_;
  QueueMeters meters_{clock_};
  std::shared_ptr<ReportsInMemory> store_ = std::make_shared<ReportsInMemory>();
  QueueReporter reporter_{store_, meters_, "process-1"};
};

TEST_F(QueueReporterTest, TellsWhatWasCounted) {
  const absl::Time accepted = clock_.Now() - absl::Seconds(3);
  meters_.Of("social").Take(accepted);
  meters_.Of("social").Take(accepted - absl::Hours(1));  // Older: a retry, say.
  meters_.Of("social").Settle(2, 150);
  meters_.Of("social").Settle(1, 1);
  const auto told = Tell();
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].queue, "social");
  EXPECT_EQ(told[0].process, "process-1");
  EXPECT_EQ(told[0].messages, 3);
  EXPECT_EQ(told[0].items, 151);
  EXPECT_THAT(told[0].newest_taken, Optional(accepted));
}

TEST_F(QueueReporterTest, ATimeByASandboxesClockSaysNothing) {
  meters_.Of("otp").Take(clock_.Now() + absl::Hours(24));
  EXPECT_EQ(Tell()[0].newest_taken, std::nullopt);
}

TEST_F(QueueReporterTest, CountsWhatWasPutOffUntilItIsBack) {
  meters_.Of("otp").PutOff(2, absl::Seconds(5));
  meters_.Of("otp").PutOff(1, absl::Seconds(20));
  EXPECT_EQ(Tell()[0].retrying, 3);
  clock_.Advance(absl::Seconds(6));
  EXPECT_EQ(Tell()[0].retrying, 1);
  clock_.Advance(absl::Seconds(15));
  EXPECT_EQ(Tell()[0].retrying, 0);
}

TEST_F(QueueReporterTest, WhileNothingMovesItTellsEveryFifthTime) {
  meters_.Of("otp").Settle(1, 1);
  EXPECT_THAT(Tell(), SizeIs(1));
  for (int i = 0; i < 4; ++i) EXPECT_THAT(Tell(), IsEmpty());
  EXPECT_THAT(Tell(), SizeIs(1));
}

TEST_F(QueueReporterTest, WhatCouldNotBeToldIsToldTheNextTime) {
  meters_.Of("otp").Settle(1, 1);
  store_->status = absl::UnavailableError("away");
  EXPECT_THAT(Tell(), IsEmpty());
  store_->status = absl::OkStatus();
  EXPECT_THAT(Tell(), SizeIs(1));
}

TEST_F(QueueReporterTest, TellsTheLastOfItWhenItStops) {
  reporter_.Start();
  meters_.Of("otp").Settle(5, 5);
  reporter_.Stop();
  ASSERT_THAT(store_->told, SizeIs(1));
  EXPECT_EQ(store_->told[0].messages, 5);
}

}  // namespace
}  // namespace carillon
