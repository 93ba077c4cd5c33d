#include "client/bench/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

TEST(PoissonSchedule, IsTheSameForTheSameSeed) {
  const auto schedule = PoissonSchedule(7, 100, absl::Seconds(10));
  EXPECT_EQ(schedule, PoissonSchedule(7, 100, absl::Seconds(10)));
  EXPECT_NE(schedule, PoissonSchedule(8, 100, absl::Seconds(10)));
}

TEST(PoissonSchedule, OfALongerTimeBeginsWithThatOfAShorter) {
  const auto schedule = PoissonSchedule(7, 100, absl::Seconds(10));
  const auto longer = PoissonSchedule(7, 100, absl::Seconds(20));
  ASSERT_GT(longer.size(), schedule.size());
  EXPECT_TRUE(std::equal(schedule.begin(), schedule.end(), longer.begin()));
}

TEST(PoissonSchedule, RisesAndEndsInTime) {
  const auto schedule = PoissonSchedule(1, 1000, absl::Seconds(5));
  EXPECT_TRUE(std::is_sorted(schedule.begin(), schedule.end()));
  EXPECT_GE(schedule.front(), absl::ZeroDuration());
  EXPECT_LT(schedule.back(), absl::Seconds(5));
}

// The mean is the rate, and the gaps are spread as those of independent arrivals:
// 1 - 1/e of them are below the mean.
TEST(PoissonSchedule, HasTheRateAndTheSpreadOfIndependentArrivals) {
  const auto schedule = PoissonSchedule(3, 1000, absl::Seconds(100));
  EXPECT_NEAR(static_cast<double>(schedule.size()), 100'000, 2'000);
  int below = 0;
  for (size_t i = 1; i < schedule.size(); ++i) below += schedule[i] - schedule[i - 1] < absl::Milliseconds(1) ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(below) / static_cast<double>(schedule.size()), 0.632, 0.01);
}

TEST(SleepUntil, NeverReturnsEarlyAndAtOnceForThePast) {
  const absl::Duration moment = MonotonicNow() + absl::Milliseconds(20);
  SleepUntil(moment);
  EXPECT_GE(MonotonicNow(), moment);
  SleepUntil(moment - absl::Hours(1));
}

}  // namespace
}  // namespace carillon::bench
