// From the door to the feed and to providers: what the histograms count, and from when.
#include "workers/handlers/end_to_end.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/delivery_dispatcher_fixture.h"
#include "tests/unit/workers/lane_fakes.h"
#include "workers/relay/storage_meter.h"

namespace carillon::testing {
namespace {

using ::testing::DoubleEq;

// Their number and their sum.
void ExpectCounted(const prometheus::Histogram& histogram, uint64_t count, double sum) {
  const prometheus::ClientMetric::Histogram counted = histogram.Collect().histogram;
  EXPECT_EQ(counted.sample_count, count);
  EXPECT_THAT(counted.sample_sum, DoubleEq(sum));
}

TEST(EndToEnd, CountsByTheAppsClockAndNeverLessThanNothing) {
  auto types = std::make_shared<CatalogueOfOne>();
  types->policy.clock_offset = absl::Hours(8);
  Catalogue catalogue(types);
  ASSERT_OK(catalogue.Refresh());
  Metrics metrics;
  const EndToEnd end_to_end(metrics, catalogue, Lane::kMarketing);
  const absl::Time now = absl::FromUnixSeconds(1'800'000'100);
  end_to_end.Observe(AppId(7), now + absl::Hours(8) - absl::Seconds(90), now);
  end_to_end.Observe(AppId(7), now + absl::Hours(8) + absl::Seconds(1), now);
  ExpectCounted(metrics.EndToEnd("carillon_accepted_to_delivered_seconds",
                                 "From acceptance at the door, or the send time, to the feed", {{"lane", "marketing"}}),
                2, 90);
}

class AcceptedToSentTest : public DeliveryDispatcherTest {
 protected:
  void SendAfter(absl::Duration since_acceptance, absl::Duration since_decision) {
    JobPtr job = Job();
    job->delivery.item.create_time = clock_.Now() - since_acceptance;
    job->delivery.decide_time = clock_.Now() - since_decision;
    EXPECT_EQ(Dispatch(std::move(job))->update.state, DeliveryState::kSent);
  }
  prometheus::Histogram& histogram() {
    return metrics_.EndToEnd("carillon_accepted_to_sent_seconds",
                             "From acceptance, or the time it waited for, to a provider's acceptance",
                             {{"lane", "payment"}, {"channel", "sms"}});
  }
};

TEST_F(AcceptedToSentTest, CountsFromTheEndOfWhatARuleHeldBack) {
  SendAfter(absl::Hours(9), absl::Seconds(4));
  ExpectCounted(histogram(), 1, 4);
}

TEST_F(AcceptedToSentTest, CountsNothingTwice) {
  JobPtr again = JobAfter({Attempt("first", AttemptOutcome::kAccepted)});
  EXPECT_EQ(Dispatch(std::move(again))->update.state, DeliveryState::kSent);
  ExpectCounted(histogram(), 0, 0);
}

class MonitorOfOneSample final : public StorageMonitor {
 public:
  absl::StatusOr<StorageFigures> Measure() override { return figures; }
  absl::StatusOr<StorageFigures> figures;
};

TEST(StorageMeter, TellsTheTimeOfTheLastSampleAndLeavesItWhileTheDatabaseIsAway) {
  Metrics metrics;
  SimulatedClock clock(absl::FromUnixSeconds(1'800'000'100));
  StopSignal stop;
  auto owned = std::make_unique<MonitorOfOneSample>();
  MonitorOfOneSample& monitor = *owned;
  StorageMeter meter({.monitor = std::move(owned), .clock = clock, .metrics = metrics, .stop = stop});
  const auto value = [&](const char* name, const Metrics::Labels& labels = {}) {
    return metrics.Gauge(name, "", labels).Value();
  };
  EXPECT_EQ(value("carillon_storage_sample_time_seconds"), 0);
  monitor.figures = StorageFigures{.outbox = {{.lane = Lane::kOtp, .dead_tuples = 7, .bytes = 8192}},
                                   .partitions_ahead = absl::Hours(48),
                                   .oldest_transaction = absl::Seconds(3)};
  EXPECT_OK(meter.Measure());
  clock.Advance(absl::Seconds(30));
  monitor.figures = absl::UnavailableError("away");
  EXPECT_THAT(meter.Measure(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(value("carillon_outbox_dead_tuples", {{"lane", "otp"}}), 7);
  EXPECT_EQ(value("carillon_partitions_ahead_seconds"), 48 * 3600);
  EXPECT_EQ(value("carillon_storage_sample_time_seconds"), 1'800'000'100);
}

}  // namespace
}  // namespace carillon::testing
