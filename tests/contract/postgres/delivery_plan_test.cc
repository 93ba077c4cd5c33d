// That the hot statements of deliveries go by index and touch only the slices they
// must, among many apps, people and deliveries.
#include <gmock/gmock.h>

#include "absl/time/clock.h"
#include "carillon/postgres/dead_letter_store.h"
#include "carillon/postgres/delivery_store.h"
#include "carillon/postgres/replay_store.h"
#include "carillon/wire/envelope.h"
#include "tests/contract/postgres/plan_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::Not;
using ::testing::SizeIs;

class DeliveryPlanTest : public PlanTest {
 protected:
  static constexpr int kDeliveries = 50;
  // The server plans for parameters in general from the sixth time on.
  static constexpr int kRounds = 8;

  static void SetUpTestSuite() {
    PlanTest::SetUpTestSuite();
    Query(R"sql(
      INSERT INTO apps (app_id, name, app_key, scopes) OVERRIDING SYSTEM VALUE
      SELECT n, 'app-' || n, 'key-' || n, '{send}' FROM generate_series(1, 2000) AS n;
      INSERT INTO recipients (app_id, recipient_id, email)
      SELECT app_id, 'user-' || n, 'user-' || n || '@example.org' FROM generate_series(1, 5) AS app_id, generate_series(1, 10000) AS n;
      INSERT INTO devices (app_id, recipient_id, channel, device_id, token)
      SELECT app_id, 'user-' || n, 'fcm', 'device-' || n, 'token' FROM generate_series(1, 5) AS app_id, generate_series(1, 10000) AS n;
      INSERT INTO suppressions (app_id, channel, address_hash, type, reason)
      SELECT app_id, 'email', sha256(('other-' || n)::bytea), '', 'bounce' FROM generate_series(1, 5) AS app_id, generate_series(1, 10000) AS n;
      INSERT INTO daily_stats (app_id, count, day, part, type, channel, kind)
      SELECT app_id, 1, '2026-01-01'::date + n, 0, 'like', 'email', 'sent' FROM generate_series(1, 1000) AS app_id, generate_series(1, 40) AS n;
      INSERT INTO notifications (notification_id, app_id, created_at, retention_days, lane, state, type, recipient_id, channels, finished_at)
      SELECT new_uuid7(), 1 + n % 5, now(), 7, 'social', 'delivered', 'like', 'user-' || n % 10000, '{in_app}', now()
      FROM generate_series(1, 50000) AS n;
      INSERT INTO deliveries (notification_id, delivery_id, app_id, retention_days, lane, channel, state, type, recipient_id, finished_at)
      SELECT notification_id, new_uuid7(), app_id, 7, 'social', 'email', 'sent', 'like', recipient_id, now() FROM notifications;
      INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id, exchange,
                             routing_key, type, payload)
      SELECT 6 + n % 5, now() + n * interval '1 minute', new_uuid7(), new_uuid7(), 7, 'social', 'provider', 'email', 'user-1',
             'carillon.delivery', 'social.email', 'like', 'x'
      FROM generate_series(1, 20000) AS n;
      ANALYZE apps, recipients, devices, suppressions, daily_stats, notifications, deliveries, schedules)sql");
  }

  // Of one notification each, begun and gone from the outbox.
  std::vector<Delivery> Begin() {
    std::vector<NewNotification> items;
    for (int i = 0; i < kDeliveries; ++i) items.push_back(MakeNew(AppId(3), absl::StrCat("user-", i + 1)));
    AcceptAll(items);
    std::vector<FeedDelivery> decisions = DeliveriesOf(items);
    std::vector<Delivery> deliveries;
    for (size_t i = 0; i < items.size(); ++i) {
      const Uuid id = NewUuid7(absl::Now());
      decisions[i].state = State::kAccepted;
      decisions[i].deliveries = {{.id = id, .channel = Channel::kEmail, .device_id = {}, .fate = {}, .envelope = "x"}};
      deliveries.push_back({.id = id, .channel = Channel::kEmail, .device_id = {}, .item = items[i].notification});
    }
    EXPECT_OK(feeds_.Deliver(decisions));
    EmptyOutbox();
    return deliveries;
  }
  std::vector<ClaimResult> Claim(const std::vector<Delivery>& deliveries) {
    std::vector<ClaimRequest> requests;
    for (const Delivery& delivery : deliveries) requests.push_back({&delivery});
    const auto claims = store_.Claim(requests, absl::Seconds(60));
    EXPECT_OK(claims);
    return claims.value_or(std::vector<ClaimResult>(deliveries.size()));
  }
  // Claims and records all of them.
  void Record(const std::vector<Delivery>& deliveries, const std::function<void(DeliveryUpdate&)>& change,
              bool keep_plans = false) {
    const std::vector<ClaimResult> claims = Claim(deliveries);
    std::vector<DeliveryUpdate> updates;
    for (size_t i = 0; i < deliveries.size(); ++i) {
      updates.push_back({.delivery = &deliveries[i], .claim = claims[i].claim});
      change(updates.back());
    }
    if (keep_plans) PlanTest::Record();
    ASSERT_OK(store_.Record(updates));
  }
  void ExpectNothingScanned() const {
    EXPECT_THAT(recorder_->plans, HasSubstr("Query Text"));
    EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  }
  std::set<std::string> SlicesOf(const std::string& parent) const { return Slices(parent, {7}, absl::Now()); }

  PostgresDeliveryStore store_{pool_};
};

TEST_F(DeliveryPlanTest, BeginningReadsTheSliceOfItsNotifications) {
  for (int round = 0; round < kRounds; ++round) {
    PlanTest::Record();
    Begin();
    ExpectNothingScanned();
    EXPECT_EQ(Read("notifications_"), SlicesOf("notifications"));
    EXPECT_THAT(Read("deliveries"), ::testing::IsEmpty());
  }
}

TEST_F(DeliveryPlanTest, ContactsAreReadByTheirKeys) {
  std::vector<FeedKey> keys;
  for (int i = 0; i < 100; ++i) keys.push_back({AppId(3), RecipientId(absl::StrCat("user-", 50 * i))});
  for (int round = 0; round < kRounds; ++round) {
    PlanTest::Record();
    ASSERT_OK(store_.ReadContacts(keys));
    ExpectNothingScanned();
    EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("recipients_pkey"), HasSubstr("devices_pkey")));
  }
}

TEST_F(DeliveryPlanTest, AClaimGoesByTheKeysOfTheDeliveryAndItsRecipient) {
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<Delivery> deliveries = Begin();
    PlanTest::Record();
    for (const ClaimResult& claim : Claim(deliveries)) EXPECT_TRUE(claim.claimed);
    ExpectNothingScanned();
    EXPECT_EQ(Read("deliveries"), SlicesOf("deliveries"));
    EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("recipients_pkey"), HasSubstr("suppressions_pkey")));
  }
}

TEST_F(DeliveryPlanTest, RecordingGoesByTheKeysOfTheDeliveryAndItsNotification) {
  for (int round = 0; round < kRounds; ++round) {
    Record(
        Begin(),
        [](DeliveryUpdate& update) {
          update.state = DeliveryState::kSent;
          update.device_dead_since = absl::Now();
        },
        /*keep_plans=*/true);
    ExpectNothingScanned();
    EXPECT_EQ(Read("deliveries"), SlicesOf("deliveries"));
    EXPECT_EQ(Read("notifications"), SlicesOf("notifications"));
  }
}

TEST_F(DeliveryPlanTest, HeldOnesAreFoundByTheProviderTheyWaitForAmongThoseOfManyApps) {
  for (int round = 0; round < kRounds; ++round) {
    Record(Begin(), [](DeliveryUpdate& update) {
      update.state = DeliveryState::kHeld;
      update.hold_until = absl::Now() - absl::Hours(1);
    });
    PlanTest::Record();
    ASSERT_THAT(store_.ReleaseHeld(AppId(3), Channel::kEmail, Lane::kSocial, 20), IsOkAndHolds(20));
    ExpectNothingScanned();
    EXPECT_THAT(recorder_->plans, HasSubstr("schedules_by_provider"));
    EXPECT_EQ(Read("deliveries"), SlicesOf("deliveries"));
    Query("DELETE FROM schedules WHERE app_id = 3");
    EmptyOutbox();
  }
}

TEST_F(DeliveryPlanTest, IdleOnesAreFoundAmongThePending) {
  Query("UPDATE deliveries SET state = 'sent', finished_at = now() WHERE finished_at IS NULL");
  for (int round = 0; round < kRounds; ++round) {
    Begin();
    Query("UPDATE deliveries SET touched_at = now() - interval '1 hour' WHERE state = 'pending'");
    PlanTest::Record();
    ASSERT_OK(store_.RequeueIdle(Lane::kSocial, Channel::kEmail, absl::Now() - absl::Minutes(30), 20));
    EXPECT_THAT(recorder_->plans,
                AllOf(Not(HasSubstr("Seq Scan on deliveries")), HasSubstr("lane_channel_delivery_id")));
    EXPECT_THAT(Read("outbox"), IsSubsetOf({"outbox_social_ready", "outbox_social_deferred"}));
    EmptyOutbox();
  }
}

TEST_F(DeliveryPlanTest, ADeliveryIsListedFromTheSlicesOfItsNotification) {
  const std::vector<Delivery> deliveries = Begin();
  for (int round = 0; round < kRounds; ++round) {
    PlanTest::Record();
    ASSERT_THAT(store_.List(AppId(3), deliveries[round].item.id), IsOkAndHolds(SizeIs(1)));
    ExpectNothingScanned();
    EXPECT_EQ(Read("deliveries"), Slices("deliveries", {1, 7, 30, 365}, absl::Now()));
  }
}

// Among many that were put back before, and many that are dead of another queue.
TEST_F(DeliveryPlanTest, DeadLettersAreRecordedAndPutBackByTheirKeys) {
  Query(
      "INSERT INTO dead_letters (app_id, state, queue, lane, message_id, type, reason, payload)"
      " SELECT 4, CASE WHEN n % 2 = 0 THEN 'dead' ELSE 'replayed' END, 'social.sms', 'social', 'm-' || n, 'like', "
      "'permanent',"
      " 'x' FROM generate_series(1, 20000) AS n; ANALYZE dead_letters");
  PostgresDeadLetterStore letters(pool_);
  PostgresReplayStore replays(pool_);
  ReplayOrder order{.app = AppId(3), .operator_name = "ann", .reason = "fixed", .filter = {}, .max_replays = 5};
  order.filter.queue = "social.email";
  for (int round = 0; round < kRounds; ++round) {
    std::vector<DeadLetter> died;
    for (const Delivery& delivery : Begin()) {
      died.push_back({.app = AppId(3),
                      .notification_id = delivery.item.id,
                      .queue = "social.email",
                      .lane = "social",
                      .message_id = delivery.id.ToString(),
                      .type = "like",
                      .reason = "permanent",
                      .payload = EncodeEnvelope(delivery),
                      .delivery_id = delivery.id,
                      .retention_days = 7});
    }
    PlanTest::Record();
    ASSERT_OK(letters.Record(died));
    ASSERT_OK_AND_ASSIGN(ReplayRun run, replays.Begin(order));
    ASSERT_OK(replays.Step(run, kDeliveries));
    EXPECT_EQ(run.replay.counts.replayed, kDeliveries);
    EXPECT_THAT(replays.Attend(run, 1), IsOkAndHolds(false));
    ExpectNothingScanned();
    EXPECT_EQ(Read("notifications_"), SlicesOf("notifications"));
    EXPECT_EQ(Read("deliveries_"), SlicesOf("deliveries"));
    EXPECT_THAT(recorder_->plans, HasSubstr("dead_letters_by_queue"));
    PlanTest::Record();
    ASSERT_OK(letters.Count({"social.email", "social.sms"}, 10'000));
    EXPECT_THAT(recorder_->plans,
                AllOf(HasSubstr("Index Only Scan using dead_letters_by_queue"), Not(HasSubstr("Seq Scan"))));
    EmptyOutbox();
  }
}

// Of one app and of none, by type: what no other index has.
TEST_F(DeliveryPlanTest, DeadLettersAreCountedWithoutTheirPayloads) {
  Query(
      "INSERT INTO dead_letters (app_id, state, queue, lane, message_id, type, reason, error, error_kind, payload)"
      " SELECT nullif(n % 3, 0), 'dead', 'otp.sms', 'otp', 'c-' || n, 'code', 'permanent', 'no ' || n, 'no <number>',"
      " repeat('x', 1000)::bytea FROM generate_series(1, 6000) AS n");
  Query("VACUUM (ANALYZE) dead_letters");
  PostgresDeadLetterStore letters(pool_);
  PostgresReplayStore replays(pool_);
  ReplayOrder order{.app = AppId(1), .reason = "fixed", .filter = {}};
  order.filter.app = AppId(1);
  order.filter.or_of_no_app = true;
  order.filter.type = "code";
  PlanTest::Record();
  ASSERT_OK_AND_ASSIGN(const ReplayRun run, replays.Rehearse(order));
  EXPECT_EQ(run.replay.counts.matched, 4000);
  ASSERT_OK_AND_ASSIGN(const DeadLetterStore::Summary summary, letters.Summarize(order.filter, 10));
  EXPECT_EQ(summary.total, 4000);
  ExpectNothingScanned();
  EXPECT_EQ(Read("dead_letters"), std::set<std::string>({"dead_letters"}));
  EXPECT_THAT(recorder_->plans, HasSubstr("Index Only Scan using dead_letters_by_queue"));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Index Scan")));
}

}  // namespace
}  // namespace carillon::testing
