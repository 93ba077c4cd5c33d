#include "client/bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace carillon::bench {
namespace {

using ::testing::HasSubstr;

Report GoodReport() {
  Report report;
  report.seed = 7;
  report.asked = report.accepted = report.delivered = 10;
  report.load_time = report.delivery_time = absl::Seconds(2);
  return report;
}

TEST(Percentiles, AreTakenByNearestRank) {
  std::vector<absl::Duration> durations;
  for (int i = 100; i >= 1; --i) durations.push_back(absl::Milliseconds(i));
  const Percentiles times = PercentilesOf(durations);
  EXPECT_EQ(times.p50, absl::Milliseconds(50));
  EXPECT_EQ(times.p95, absl::Milliseconds(95));
  EXPECT_EQ(times.p99, absl::Milliseconds(99));
  EXPECT_EQ(times.max, absl::Milliseconds(100));
  EXPECT_EQ(PercentilesOf({absl::Seconds(1)}).p50, absl::Seconds(1));
  EXPECT_EQ(PercentilesOf({}).max, absl::ZeroDuration());
}

TEST(Report, PassesOnlyIfNothingIsWrong) {
  EXPECT_TRUE(GoodReport().passed());
  const std::function<void(Report&)> faults[] = {
      [](Report& report) { report.accepted = 9; },
      [](Report& report) { report.feeds.lost = 1; },
      [](Report& report) { report.feeds.duplicates = 1; },
      [](Report& report) { report.feeds.unexpected = 1; },
      [](Report& report) { report.streams.gaps = 1; },
      [](Report& report) { report.streams.disorder = 1; },
      [](Report& report) { report.wrong_counters = {"alice"}; },
      [](Report& report) { report.dead_letters = {"a died"}; },
      [](Report& report) { report.problems = {"reading the feed"}; },
      [](Report& report) { report.faults = {{.under_load = false}}; },
      [](Report& report) { report.faults = {{.under_load = true, .status = absl::InternalError("not restarted")}}; },
  };
  for (const auto& fault : faults) {
    Report report = GoodReport();
    fault(report);
    EXPECT_FALSE(report.passed());
    EXPECT_THAT(ToText(report), HasSubstr("FAILED"));
  }
}

TEST(Report, IsOneJsonDocument) {
  const nlohmann::json document = nlohmann::json::parse(ToJson(GoodReport()));
  EXPECT_EQ(document["passed"], true);
  EXPECT_EQ(document["seed"], 7);
  EXPECT_EQ(document["accepted_per_second"], 5.0);
}

}  // namespace
}  // namespace carillon::bench
