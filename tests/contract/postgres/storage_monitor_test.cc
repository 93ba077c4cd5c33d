#include "carillon/postgres/storage_monitor.h"

#include <gmock/gmock.h>

#include "absl/algorithm/container.h"
#include "absl/time/clock.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Gt;
using ::testing::Le;
using ::testing::SizeIs;

class StorageMonitorTest : public PostgresTest {
 protected:
  StorageFigures Measure() {
    const absl::StatusOr<StorageFigures> figures = monitor_.Measure();
    EXPECT_OK(figures);
    return figures.value_or(StorageFigures{});
  }
  StorageFigures::Outbox Outbox(Lane lane) {
    const StorageFigures figures = Measure();
    EXPECT_THAT(figures.outbox, SizeIs(kAllLanes.size()));
    const auto found = absl::c_find_if(figures.outbox, [&](const auto& one) { return one.lane == lane; });
    return found == figures.outbox.end() ? StorageFigures::Outbox{} : *found;
  }

  PostgresStorageMonitor monitor_{MakePool(1)};
};

TEST_F(StorageMonitorTest, PartitionsReachToTheFirstGap) {
  Query("SELECT ensure_slices(now(), now() + interval '3 days')");
  const absl::Duration ahead = Measure().partitions_ahead;
  EXPECT_THAT(ahead, AllOf(Ge(absl::Hours(72)), Le(absl::Hours(96))));
  const std::string tomorrow = Query(
      "SELECT slice_name FROM slices WHERE parent = 'feed_items' AND retention_days = 7 AND starts_at > now() "
      "ORDER BY starts_at LIMIT 1");
  // Dropped behind everybody's back: `slices` knows nothing of it.
  Query("DROP TABLE " + tomorrow);
  EXPECT_THAT(Measure().partitions_ahead, AllOf(Ge(absl::ZeroDuration()), Le(absl::Hours(24))));
  Query("DELETE FROM slices WHERE slice_name = '" + tomorrow + "'");
  Query("SELECT ensure_slices(now(), now() + interval '3 days')");
  EXPECT_THAT(Measure().partitions_ahead, Ge(ahead - absl::Minutes(1)));
}

TEST_F(StorageMonitorTest, NothingIsAheadWhereTodaysPartitionIsMissing) {
  Query("SELECT ensure_slices(now(), now() + interval '3 days')");
  const std::string today = Query(
      "SELECT slice_name FROM slices WHERE parent = 'deliveries' AND retention_days = 1 AND starts_at <= now() "
      "AND ends_at > now()");
  Query("ALTER TABLE deliveries_1 DETACH PARTITION " + today);
  EXPECT_EQ(Measure().partitions_ahead, absl::ZeroDuration());
  Query("DROP TABLE " + today + "; DELETE FROM slices WHERE slice_name = '" + today + "'");
  Query("SELECT ensure_slices(now(), now() + interval '3 days')");
}

TEST_F(StorageMonitorTest, TellsTheAgeOfWhatHoldsVacuumBack) {
  PgSession other(Options());
  const absl::StatusOr<pqxx::connection*> connection = other.Connect();
  ASSERT_OK(connection);
  pqxx::work transaction(**connection);
  transaction.exec("SELECT pg_sleep(0.02)");
  const absl::Duration age = Measure().oldest_transaction;
  EXPECT_THAT(age, AllOf(Ge(absl::Milliseconds(20)), Le(absl::Minutes(1))));
}

TEST_F(StorageMonitorTest, TellsHowMuchOfTheOutboxIsDead) {
  EmptyOutbox();
  const StorageFigures::Outbox empty = Outbox(Lane::kOtp);
  EXPECT_THAT(empty.bytes, Gt(0));
  Query(
      "INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload) "
      "SELECT new_uuid7(), 1, 'otp', 'e', 'k', 't', '' FROM generate_series(1, 2000);"
      "DELETE FROM outbox WHERE lane = 'otp'");
  // PostgreSQL counts a moment after the commit.
  EXPECT_TRUE(WaitFor([&] { return Outbox(Lane::kOtp).dead_tuples >= 2000; }));
  const StorageFigures::Outbox churned = Outbox(Lane::kOtp);
  EXPECT_GT(churned.bytes, empty.bytes);
  EXPECT_LT(Outbox(Lane::kPayment).bytes, churned.bytes);
}

}  // namespace
}  // namespace carillon::testing
