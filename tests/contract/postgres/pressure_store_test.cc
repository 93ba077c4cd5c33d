#include "carillon/postgres/pressure_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/topology.h"
#include "carillon/postgres/provider_store.h"
#include "carillon/postgres/watch_store.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/contract/postgres/plan_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class PressureStoreTest : public PostgresTest {
 protected:
  void SetUp() override { Query("TRUNCATE outbox, queue_reports, dead_letters, provider_health"); }

  PressureFacts Read() {
    auto facts = store_.Read({"social", "otp.sms"});
    EXPECT_OK(facts);
    return facts.value_or(PressureFacts());
  }

  const AppId app_ = NewApp();
  PostgresPressureStore store_{MakePool(2)};
};

TEST_F(PressureStoreTest, KeepsTheNewestReportOfEachProcess) {
  const absl::Time taken = absl::FromUnixMicros(1'700'000'000'123'456);
  QueueReport report{
      .queue = "social", .process = "a", .messages = 10, .items = 900, .retrying = 1, .newest_taken = taken};
  const QueueReport other{.queue = "social.like", .process = "a", .newest_taken = {}};
  ASSERT_OK(store_.Report({report, other}));
  report.messages = 20;
  report.items = 1800;
  ASSERT_OK(store_.Report({&report, 1}));
  std::vector<QueueReport> told = Read().reports;
  ASSERT_THAT(told, SizeIs(2));
  std::sort(told.begin(), told.end(), [](const auto& a, const auto& b) { return a.queue < b.queue; });
  EXPECT_EQ(told[0].messages, 20);
  EXPECT_EQ(told[0].items, 1800);
  EXPECT_EQ(told[0].retrying, 1);
  EXPECT_EQ(told[0].newest_taken, taken);
  EXPECT_TRUE(told[0].live);
  EXPECT_EQ(told[1].newest_taken, std::nullopt);
}

TEST_F(PressureStoreTest, TellsTheLivingFromTheDeadAndForgetsThem) {
  ASSERT_OK(store_.Report({{.queue = "otp", .process = "gone", .newest_taken = {}}}));
  Query("UPDATE queue_reports SET updated_at = now() - interval '20 seconds'");
  ASSERT_OK(store_.Report({{.queue = "otp", .process = "here", .newest_taken = {}}}));
  for (const QueueReport& report : Read().reports) EXPECT_EQ(report.live, report.process == "here");
  EXPECT_THAT(store_.ForgetReports(absl::Minutes(1)), IsOkAndHolds(0));
  EXPECT_THAT(store_.ForgetReports(absl::Seconds(10)), IsOkAndHolds(1));
  EXPECT_THAT(Read().reports, SizeIs(1));
}

TEST_F(PressureStoreTest, TellsOfEachLanesOutbox) {
  const absl::Time old = absl::Now() - absl::Minutes(10);
  AcceptAll({At(MakeNew(app_), old), MakeNew(app_), At(MakeNew(app_), old - absl::Minutes(10))});
  const auto social = [&] {
    const PressureFacts facts = Read();
    EXPECT_THAT(facts.outbox, SizeIs(kAllLanes.size()));
    for (const OutboxStats& stats : facts.outbox) {
      if (stats.lane == Lane::kSocial) return stats;
      EXPECT_EQ(stats.rows + stats.deferred, 0);
      EXPECT_EQ(stats.oldest_age, absl::ZeroDuration());
    }
    return OutboxStats();
  };
  // What was scheduled has the id of its acceptance, and waits since it was due.
  EXPECT_EQ(social().rows, 3);
  EXPECT_LT(social().oldest_age, absl::Minutes(1));
  Query("UPDATE outbox SET available_at = now() - interval '5 minutes'");
  EXPECT_THAT(social().oldest_age, AllOf(::testing::Ge(absl::Minutes(5)), ::testing::Lt(absl::Minutes(6))));
  // One whose publishing failed, since it was accepted.
  Query(
      "UPDATE outbox SET deferred = true, available_at = now() + interval '1 hour' WHERE message_id = ("
      "SELECT min(message_id::text)::uuid FROM outbox)");
  EXPECT_EQ(social().rows, 2);
  EXPECT_EQ(social().deferred, 1);
  EXPECT_THAT(social().oldest_age, AllOf(::testing::Ge(absl::Minutes(20)), ::testing::Lt(absl::Minutes(21))));
}

TEST_F(PressureStoreTest, CountsWhatIsDeadByQueue) {
  Query(
      "INSERT INTO dead_letters (queue, state, reason, payload)"
      " SELECT queue, state, 'permanent', '' FROM unnest(ARRAY['social', 'social', 'otp.sms', 'payment'],"
      " ARRAY['dead', 'dead', 'moot', 'dead']) AS letters (queue, state)");
  const std::map<std::string, int64_t> expected = {{"social", 2}, {"otp.sms", 0}};
  EXPECT_EQ(Read().dead, expected);
}

TEST_F(PressureStoreTest, TellsOfBreakersThatAreNotClosed) {
  const std::string app =
      Query("INSERT INTO apps (name, app_key, scopes) VALUES ('pressure', 'ck_pressure', '{send}') RETURNING app_id");
  Query("INSERT INTO provider_health (app_id, channel, name, lane, breaker, error, misconfigured) VALUES (" + app +
        ", 'sms', 'my twilio', 'otp', 'open', E'one\\ntwo', true), (" + app +
        ", 'sms', 'vonage', 'otp', 'closed', NULL, false)");
  const PressureFacts facts = Read();
  ASSERT_THAT(facts.breakers, SizeIs(1));
  const OpenBreaker& breaker = facts.breakers[0];
  EXPECT_EQ(breaker.app_key, "ck_pressure");
  EXPECT_EQ(breaker.health.name, "my twilio");
  EXPECT_EQ(breaker.health.channel, Channel::kSms);
  EXPECT_EQ(breaker.health.lane, Lane::kOtp);
  EXPECT_EQ(breaker.health.breaker, BreakerState::kOpen);
  EXPECT_EQ(breaker.health.error, "one\ntwo");
  EXPECT_TRUE(breaker.health.misconfigured);
}

class PressurePlan : public PlanTest {};

TEST_F(PressurePlan, CountsByIndexes) {
  ASSERT_OK(PostgresPressureStore(pool_).Read({"social", "otp.sms"}));
  EXPECT_THAT(Read("dead_letters"), SizeIs(1));
  EXPECT_THAT(recorder_->plans, HasSubstr("dead_letters_by_queue"));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan on outbox")));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan on dead_letters")));
}

TEST_F(PressurePlan, AWatchedOneIsLookedForInItsSliceOnly) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(PostgresWatchStore(pool_).Look({{app_, items_[0].notification.id}}));
  ExpectIndexesOnly();
  const absl::Time time = items_[0].notification.create_time;
  std::set<std::string> slices = Slices("notifications", {1, 7, 30, 365}, time);
  slices.insert("notifications_0");
  EXPECT_EQ(Read("notifications"), slices);
  EXPECT_EQ(Read("deliveries"), Slices("deliveries", {1, 7, 30, 365}, time));
}

class WatchStoreTest : public DeliveryTest {
 protected:
  std::string Look(const NotificationId& id) {
    const auto looks = watches_.Look({{app_, id}});
    EXPECT_OK(looks);
    return looks.ok() && looks->size() == 1 ? looks->front() : "?";
  }

  PostgresWatchStore watches_{MakePool(1)};
};

TEST_F(WatchStoreTest, LooksDifferentAfterEachChange) {
  std::vector<std::string> looks;
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  const NotificationId id = item.notification.id;
  looks.push_back(Look(id));
  EXPECT_EQ(Look(id), looks.back());
  EmptyOutbox();
  looks.push_back(Look(id));  // Queued.
  const FeedDelivery decision = DecisionFor(item, {Channel::kSms, Channel::kEmail});
  Decide(decision);
  looks.push_back(Look(id));
  const std::vector<Delivery> deliveries = DeliveriesIn(decision, item);
  Hold(deliveries[0], absl::Now() + absl::Hours(1));
  looks.push_back(Look(id));
  Query("UPDATE schedules SET due_at = due_at + interval '1 hour' WHERE message_id = '" + deliveries[0].id.ToString() +
        "'");
  looks.push_back(Look(id));
  End(deliveries[1], DeliveryState::kSent);
  looks.push_back(Look(id));
  Query("DELETE FROM schedules WHERE message_id = '" + deliveries[0].id.ToString() + "'");
  Query("UPDATE deliveries SET state = 'pending' WHERE delivery_id = '" + deliveries[0].id.ToString() + "'");
  looks.push_back(Look(id));
  End(deliveries[0], DeliveryState::kSent);
  looks.push_back(Look(id));
  for (size_t i = 1; i < looks.size(); ++i) EXPECT_NE(looks[i], looks[i - 1]) << i;
  EXPECT_THAT(looks, Each(Not(IsEmpty())));
}

TEST_F(WatchStoreTest, OfNoneOrAnotherAppsThereIsNothingToSee) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  const auto looks =
      watches_.Look({{app_, NewUuid7(absl::Now())}, {NewApp(), item.notification.id}, {app_, item.notification.id}});
  ASSERT_OK(looks);
  EXPECT_THAT(*looks, ElementsAre(IsEmpty(), IsEmpty(), Not(IsEmpty())));
}

}  // namespace
}  // namespace carillon::testing
