#include "client/bench/metrics_page.h"

#include <gtest/gtest.h>

namespace carillon::bench {
namespace {

constexpr const char* kPage =
    "HTTP/1.1 200 OK\r\n\r\n"
    "# HELP published_total Messages\n"
    "# TYPE published_total counter\n"
    "published_total{lane=\"otp\",outcome=\"confirmed\"} 12\n"
    "published_total{lane=\"social\",outcome=\"confirmed\"} 1.5e+06\n"
    "published_total{lane=\"social\",outcome=\"returned\"} 3\n"
    "published_total_created 99\n"
    "ready 1\n";

TEST(MetricsPage, AddsUpTheSeriesWithALabel) {
  EXPECT_EQ(SumOf(kPage, "published_total", "outcome=\"confirmed\""), 1'500'012);
  EXPECT_EQ(SumOf(kPage, "published_total"), 1'500'015);
  EXPECT_EQ(SumOf(kPage, "ready"), 1);
  EXPECT_EQ(SumOf(kPage, "absent"), 0);
}

TEST(MetricsPage, RefusesOtherAddresses) {
  for (const char* url : {"", "https://127.0.0.1:1/", "http://localhost:1/metrics", "http://127.0.0.1/metrics"}) {
    EXPECT_EQ(FetchMetrics(url).status().code(), absl::StatusCode::kInvalidArgument) << url;
  }
}

TEST(MetricsPage, IsFoundByThePartsName) {
  setenv("CARILLON_METRICS_WORKER_OTP", "http://127.0.0.1:5/metrics", 1);
  EXPECT_EQ(MetricsUrlOf("worker-otp"), "http://127.0.0.1:5/metrics");
  unsetenv("CARILLON_METRICS_WORKER_OTP");
  EXPECT_EQ(MetricsUrlOf("worker-otp"), "");
}

}  // namespace
}  // namespace carillon::bench
