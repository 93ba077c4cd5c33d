#include "server/api/rpc_metrics.h"

#include <gtest/gtest.h>

namespace carillon {
namespace {

class RpcMetricsTest : public ::testing::Test {
 protected:
  double CountOf(const std::string& method, const std::string& code) {
    return metrics_
        .Counter("carillon_rpc_total", "RPCs by method and status code", {{"method", method}, {"code", code}})
        .Value();
  }

  Metrics metrics_;
  RpcMetrics rpc_metrics_{metrics_};
};

TEST_F(RpcMetricsTest, CountsByMethodAndCode) {
  rpc_metrics_.Observe("Send", 0, absl::Milliseconds(3));
  rpc_metrics_.Observe("Send", 0, absl::Milliseconds(4));
  rpc_metrics_.Observe("Send", 14, absl::Milliseconds(5));
  rpc_metrics_.Count("Subscribe", 1);
  EXPECT_EQ(CountOf("Send", "OK"), 2);
  EXPECT_EQ(CountOf("Send", "UNAVAILABLE"), 1);
  EXPECT_EQ(CountOf("Subscribe", "CANCELLED"), 1);
  EXPECT_EQ(CountOf("Subscribe", "OK"), 0);
}

TEST_F(RpcMetricsTest, TakesCodesThatNobodyKnows) {
  rpc_metrics_.Count("Send", 99);
  rpc_metrics_.Count("Send", -1);
  EXPECT_EQ(CountOf("Send", "UNAUTHENTICATED"), 1);
  EXPECT_EQ(CountOf("Send", "OK"), 1);
}

}  // namespace
}  // namespace carillon
