#include "client/bench/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon::bench {
namespace {

using ::testing::HasSubstr;

TEST(Percentiles, AreTakenByNearestRank) {
  std::vector<absl::Duration> durations;
  for (int i = 2000; i >= 1; --i) durations.push_back(absl::Milliseconds(i));
  const Percentiles times = PercentilesOf(durations);
  EXPECT_EQ(times.p50, absl::Milliseconds(1000));
  EXPECT_EQ(times.p95, absl::Milliseconds(1900));
  EXPECT_EQ(times.p99, absl::Milliseconds(1980));
  EXPECT_EQ(times.p999, absl::Milliseconds(1998));
  EXPECT_EQ(times.max, absl::Milliseconds(2000));
}

TEST(Percentiles, OfOneValueAreThatValueAndOfNothingZero) {
  EXPECT_EQ(PercentilesOf({absl::Seconds(1)}).p50, absl::Seconds(1));
  EXPECT_EQ(PercentilesOf({absl::Seconds(1)}).p999, absl::Seconds(1));
  EXPECT_EQ(PercentilesOf({}).max, absl::ZeroDuration());
}

TEST(Percentiles, AreTheSlowestOnesForFewValues) {
  EXPECT_EQ(PercentilesOf({absl::Seconds(1), absl::Seconds(9)}).p99, absl::Seconds(9));
}

TEST(Figures, ShareTheCpuAmongTheNotifications) {
  const Usage usage{.time = absl::Seconds(2),
                    .cpu_seconds = {{"server", 0.5}, {"postgres", 0.25}, {"generator", 0.25}},
                    .steal_percent = 1.25,
                    .idle_percent = 50};
  const Json document = JsonOf(usage, 10'000);
  EXPECT_EQ(document["cpu_us_per_notification"]["server"], 50.0);
  EXPECT_EQ(document["cpu_us_per_notification"]["all"], 100.0);
  EXPECT_EQ(document["idle_percent"], 50.0);
  EXPECT_FALSE(document.contains("note"));
}

TEST(Figures, SayThatOnlyTheGeneratorWasSeen) {
  const Json document = JsonOf(Usage{.cpu_seconds = {{"generator", 1.0}}}, 0);
  EXPECT_TRUE(document.contains("note"));
}

TEST(Bound, IsTheProcessThatUsesACoreByItself) {
  const Usage usage{.time = absl::Seconds(10), .cpu_seconds = {{"postgres", 3}, {"sandbox", 9}}, .idle_percent = 30};
  EXPECT_EQ(BoundOf(usage), "sandbox (90 % of a core)");
}

TEST(Bound, IsTheMachineWhenNoCoreIsLeft) {
  const Usage usage{.time = absl::Seconds(10), .cpu_seconds = {{"postgres", 9}, {"sandbox", 8}}, .idle_percent = 3};
  EXPECT_EQ(BoundOf(usage), "all cores; most of them: postgres (90 % of a core)");
}

TEST(Bound, IsNotOursWhenEverybodyWaits) {
  const Usage usage{.time = absl::Seconds(10), .cpu_seconds = {{"postgres", 2}, {"sandbox", 4}}, .idle_percent = 60};
  EXPECT_EQ(BoundOf(usage), "waiting for answers; most CPU: sandbox (40 % of a core)");
  EXPECT_EQ(BoundOf(Usage{}), "not known");
}

TEST(Figures, AreOneLineForEachValueAsText) {
  const std::string text = TextOf({{"scenario", "send"}, {"call_ms", {{"p50", 1.5}}}});
  EXPECT_THAT(text, HasSubstr("scenario"));
  EXPECT_THAT(text, HasSubstr("call_ms.p50"));
  EXPECT_THAT(text, HasSubstr("1.5\n"));
}

}  // namespace
}  // namespace carillon::bench
