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
  EXPECT_FALSE(document.contains("usage"));
}

TEST(Report, TellsTheCpuOfWhatWasMeasured) {
  Report report = GoodReport();
  report.usage = Usage{.time = absl::Seconds(2), .cpu_seconds = {{"server", 0.001}, {"generator", 0.002}}};
  const nlohmann::json document = nlohmann::json::parse(ToJson(report));
  EXPECT_EQ(document["usage"]["cpu_us_per_notification"]["server"], 100.0);
  EXPECT_EQ(document["usage"]["cpu_us_per_notification"]["all"], 300.0);
  EXPECT_THAT(ToText(report), HasSubstr("300.0 us a notification"));
}

}  // namespace
}  // namespace carillon::bench
