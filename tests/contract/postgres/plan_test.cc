// That the hot statements go by index and touch only the slices they must, read
// from the plans that the adapter's own statements were run with.
#include <gmock/gmock.h>

#include <regex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/postgres/upkeep_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// Keeps the plans that auto_explain sends as notices.
class PlanRecorder : public pqxx::errorhandler {
 public:
  using pqxx::errorhandler::errorhandler;
  bool operator()(const char* message) noexcept override {
    plans += message;
    return false;
  }
  std::string plans;
};

class PlanTest : public PostgresTest {
 protected:
  static void SetUpTestSuite() {
    PostgresTest::SetUpTestSuite();
    Query("SELECT ensure_slices(now() - interval '3 days', now() + interval '12 days')");
  }

  void SetUp() override {
    ASSERT_OK(pool_->With([&](PgSession& session) -> absl::Status {
      ASSIGN_OR_RETURN(pqxx::connection * connection, session.Connect());
      recorder_ = std::make_unique<PlanRecorder>(*connection);
      return session.Run([](pqxx::transaction_base& transaction) {
        transaction.exec(
            "LOAD 'auto_explain'; SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off;"
            "SET auto_explain.log_level = notice; SET client_min_messages = notice; SET auto_explain.log_min_duration "
            "= 0");
      });
    }));
    for (int i = 0; i < 20; ++i) items_.push_back(MakeKeyed(app_, absl::StrCat("key-", i)));
  }
  void TearDown() override {
    if (HasFailure()) std::cerr << recorder_->plans << std::endl;
    recorder_.reset();
  }

  // Forgets the plans so far.
  void Record() { recorder_->plans.clear(); }

  // The tables and slices that were read, of all whose name begins so.
  std::set<std::string> Read(const std::string& prefix) const {
    static const std::regex kScan(
        "(?:Index|Index Only|Seq|Bitmap Heap|Tid) Scan (?:Backward )?(?:using \\S+ )?on (\\S+)");
    std::set<std::string> tables;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(recorder_->plans, '\n'))) {
      std::smatch match;
      if (absl::StrContains(line, "never executed") || !std::regex_search(line, match, kScan)) continue;
      if (absl::StartsWith(match[1].str(), prefix)) tables.insert(match[1]);
    }
    return tables;
  }
  std::set<std::string> Slices(const std::string& parent, std::vector<int> classes, absl::Time time) const {
    std::set<std::string> names;
    for (const int days : classes) {
      names.insert(Query(absl::StrCat("SELECT slice_name FROM slices WHERE parent = '", parent,
                                      "' AND retention_days = ", days, " AND to_timestamp(", absl::ToUnixSeconds(time),
                                      ") >= starts_at AND to_timestamp(", absl::ToUnixSeconds(time), ") < ends_at")));
    }
    return names;
  }
  // Tables were read by index, and no row for nothing.
  void ExpectIndexesOnly() const {
    EXPECT_THAT(recorder_->plans, HasSubstr("Query Text"));
    EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
    std::string node;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(recorder_->plans, '\n'))) {
      if (absl::StrContains(line, "(cost=")) node = line;
      EXPECT_FALSE(absl::StrContains(line, "Rows Removed by Filter") && absl::StrContains(node, "Index"))
          << node << line;
    }
  }

  const AppId app_ = NewApp();
  const std::shared_ptr<PgPool> pool_ = MakePool(1);
  std::unique_ptr<PlanRecorder> recorder_;
  std::vector<NewNotification> items_;
  PostgresNotificationStore notifications_{pool_};
  PostgresFeedStore feeds_{pool_};
  PostgresUpkeepStore upkeep_{pool_};
};

TEST_F(PlanTest, AcceptReadsNoTable) {
  ASSERT_OK(notifications_.Accept(items_, false));
  EXPECT_THAT(recorder_->plans, HasSubstr("Insert on outbox"));
  EXPECT_THAT(Read(""), IsEmpty());
}

TEST_F(PlanTest, ARepeatedKeyIsReadFromItsPart) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.Accept({MakeKeyed(app_, "key-1")}, false));
  ExpectIndexesOnly();
  EXPECT_THAT(Read(""), SizeIs(1));
  EXPECT_THAT(Read("idempotency_keys_"), SizeIs(1));
}

TEST_F(PlanTest, DeliverReadsTheSliceOfItsNotifications) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read(""), Slices("notifications", {7}, items_[0].notification.create_time));
}

TEST_F(PlanTest, BacklogsAreReadByRecipientInOrder) {
  AcceptAll(items_);
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  Record();
  ASSERT_OK(feeds_.ReadBacklogs(
      {BacklogRequest{{app_, RecipientId("ann")}, 5}, BacklogRequest{{app_, RecipientId("ben")}, 0}}));
  ExpectIndexesOnly();
  EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("feed_heads_pkey"), HasSubstr("app_id_recipient_id_seq_idx")));
}

TEST_F(PlanTest, HeadsAreReadByTheirKey) {
  Record();
  ASSERT_OK(feeds_.ReadHeads({{app_, RecipientId("ann")}, {app_, RecipientId("ben")}}));
  ExpectIndexesOnly();
  EXPECT_THAT(Read(""), ElementsAre("feed_heads"));
}

TEST_F(PlanTest, MarkedItemsAreReadFromTheSlicesOfTheirIds) {
  AcceptAll(items_);
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  Record();
  ASSERT_OK(feeds_.MarkReadItems({app_, RecipientId("ann")}, {items_[0].notification.id, items_[1].notification.id}));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read("feed_items"), Slices("feed_items", {1, 7, 30, 365}, items_[0].notification.create_time));
}

TEST_F(PlanTest, FeedsAreListedByRecipient) {
  AcceptAll(items_);
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  Record();
  ASSERT_OK(feeds_.List({.key = {app_, RecipientId("ann")}, .limit = 5}));
  ExpectIndexesOnly();
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Sort Method")));
}

TEST_F(PlanTest, ANotificationIsReadFromOneSliceOfEachClass) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.Get(app_, items_[0].notification.id));
  ExpectIndexesOnly();
  EXPECT_EQ(Read("notifications"), Slices("notifications", {1, 7, 30, 365}, items_[0].notification.create_time));
  EXPECT_THAT(Read("outbox"), IsSubsetOf({"outbox_social_ready", "outbox_social_deferred"}));
}

TEST_F(PlanTest, ARecipientsNotificationsAreListedInTheOrderOfTheIndex) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.List({.app = app_, .recipient = "ann", .state = {}, .older_than = {}, .limit = 5}));
  EXPECT_THAT(recorder_->plans, AllOf(Not(HasSubstr("Seq Scan")), Not(HasSubstr("Sort Method"))));
  EXPECT_THAT(recorder_->plans, HasSubstr("app_id_recipient_id_notification_i_idx"));
}

TEST_F(PlanTest, AttemptsAreWrittenToOneSlice) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.RecordAttempts({{items_[0].notification.id, 7, {absl::Now(), 1, "x"}}}));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read(""), Slices("notifications", {7}, items_[0].notification.create_time));
}

TEST_F(PlanTest, TheSweepReadsOnFromItsPosition) {
  AcceptAll(items_);
  ASSERT_OK(upkeep_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now() + absl::Seconds(1), 1000));
  const NewNotification later = MakeNew(app_);
  AcceptOne(later);
  Record();
  ASSERT_THAT(upkeep_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now() + absl::Seconds(1), 1000), IsOkAndHolds(1));
  EXPECT_THAT(recorder_->plans, AllOf(Not(HasSubstr("Seq Scan")), Not(HasSubstr("Sort Key: n."))));
  EXPECT_EQ(Read("notifications_7"), Slices("notifications", {7}, items_[0].notification.create_time));
}

TEST_F(PlanTest, DueStragglersAreReadByLaneAndTime) {
  AcceptAll(items_);
  EmptyOutbox();
  ASSERT_OK(upkeep_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now() + absl::Seconds(1), 1000));
  Query(
      "INSERT INTO stragglers SELECT gen_random_uuid(), 7, 'marketing', now() - interval '1 hour' FROM "
      "generate_series(1, 1000)");
  Record();
  ASSERT_THAT(upkeep_.DueStragglers(Lane::kSocial, absl::Now() + absl::Seconds(1), absl::Hours(1), 10),
              IsOkAndHolds(SizeIs(10)));
  ExpectIndexesOnly();
  EXPECT_EQ(Read("notifications"), Slices("notifications", {7}, items_[0].notification.create_time));
  EXPECT_THAT(Read("outbox"), IsSubsetOf({"outbox_social_ready", "outbox_social_deferred"}));
  Query("TRUNCATE stragglers");
}

TEST_F(PlanTest, ReenqueuingReadsTheSliceOfItsNotifications) {
  AcceptAll(items_);
  EmptyOutbox();
  Record();
  ASSERT_THAT(upkeep_.Reenqueue(items_), IsOkAndHolds(20));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read("notifications"), Slices("notifications", {7}, items_[0].notification.create_time));
  EXPECT_THAT(Read("outbox"), IsSubsetOf({"outbox_social_ready", "outbox_social_deferred"}));
}

TEST_F(PlanTest, ExpiredKeysAreFoundByTime) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(upkeep_.ExpireKeys(absl::Now() + absl::Hours(25), 5));
  ExpectIndexesOnly();
}

// What a table's readers did, as the server counts it.
struct TableActivity {
  int64_t sequential_scans = 0;
  int64_t rows_by_index = 0;
  int64_t rows_deleted = 0;
};

class BacklogTest : public PostgresTest {
 protected:
  static constexpr int kRows = 200'000;

  static TableActivity Activity(const std::string& table) {
    const std::vector<std::string> columns = absl::StrSplit(
        Query("SELECT concat_ws(' ', seq_scan, idx_tup_fetch, n_tup_del) FROM pg_stat_user_tables WHERE relname = '" +
              table + "'"),
        ' ');
    TableActivity activity;
    EXPECT_TRUE(columns.size() == 3 && absl::SimpleAtoi(columns[0], &activity.sequential_scans) &&
                absl::SimpleAtoi(columns[1], &activity.rows_by_index) &&
                absl::SimpleAtoi(columns[2], &activity.rows_deleted));
    return activity;
  }
  // Waits until the server has counted that so many rows were deleted since.
  static TableActivity Since(const TableActivity& before, const std::string& table, int64_t deleted) {
    TableActivity now;
    EXPECT_TRUE(WaitFor([&] {
      now = Activity(table);
      return now.rows_deleted - before.rows_deleted >= deleted;
    }));
    return {now.sequential_scans - before.sequential_scans, now.rows_by_index - before.rows_by_index,
            now.rows_deleted - before.rows_deleted};
  }
};

TEST_F(BacklogTest, ALongOneCostsTakeAndSettleNoMoreThanTheirRows) {
  Query(
      absl::StrCat("INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload) "
                   "SELECT gen_random_uuid(), 1, 'social', 'carillon.direct', 'social.like', 'like', '\\x00' "
                   "FROM generate_series(1, ",
                   kRows, ")"));
  Query(absl::StrCat(
      "INSERT INTO outbox (message_id, app_id, lane, deferred, available_at, exchange, routing_key, type, payload) "
      "SELECT gen_random_uuid(), 1, 'social', true, now() + i * interval '1 minute', 'carillon.direct', 'social.like', "
      "'like', '\\x00' FROM generate_series(-9, ",
      kRows / 4, ") AS i"));
  const TableActivity ready_before = Activity("outbox_social_ready");
  const TableActivity deferred_before = Activity("outbox_social_deferred");
  {
    PostgresOutboxReader reader(Options(), Lane::kSocial);
    ASSERT_OK_AND_ASSIGN(const std::vector<OutboxRow> rows, reader.Take(500));
    ASSERT_THAT(rows, SizeIs(500));
    std::vector<OutboxReader::Failure> failures;
    for (size_t i = 0; i < 10; ++i) failures.push_back({&rows[i], "failed", absl::Hours(100'000)});
    ASSERT_OK(reader.Settle(failures));
    EXPECT_THAT(reader.ReleaseDue(1000), IsOkAndHolds(10));
  }
  const TableActivity ready = Since(ready_before, "outbox_social_ready", 500);
  EXPECT_EQ(ready.sequential_scans, 0);
  EXPECT_LE(ready.rows_by_index, 500);
  EXPECT_EQ(ready.rows_deleted, 500);
  const TableActivity deferred = Since(deferred_before, "outbox_social_deferred", 10);
  EXPECT_EQ(deferred.sequential_scans, 0);
  EXPECT_LE(deferred.rows_by_index, 40);
  EXPECT_EQ(deferred.rows_deleted, 10);
}

}  // namespace
}  // namespace carillon::testing
