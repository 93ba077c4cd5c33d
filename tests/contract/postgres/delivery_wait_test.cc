// Deliveries that wait, that no queue holds any more, and that have not ended.
#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/postgres/upkeep_store.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;

class HeldDeliveries : public DeliveryTest {
 protected:
  int ReleaseDue(Lane lane = Lane::kSocial) {
    PostgresOutboxReader reader(Options(), lane);
    const absl::StatusOr<int> released = reader.ReleaseDue(100);
    EXPECT_OK(released);
    return released.value_or(-1);
  }
  int Release(AppId app, Channel channel = Channel::kEmail, Lane lane = Lane::kSocial, int limit = 100) {
    const absl::StatusOr<int> released = store_.ReleaseHeld(app, channel, lane, limit);
    EXPECT_OK(released);
    return released.value_or(-1);
  }
};
class IdleDeliveries : public DeliveryTest {
 protected:
  int Requeue(Channel channel = Channel::kEmail, Lane lane = Lane::kSocial, int limit = 100) {
    const absl::StatusOr<int> queued = store_.RequeueIdle(lane, channel, absl::Now() - absl::Minutes(30), limit);
    EXPECT_OK(queued);
    return queued.value_or(-1);
  }
  static void MakeIdle() { Query("UPDATE deliveries SET touched_at = now() - interval '1 hour'"); }
  void SetUp() override {
    DeliveryTest::SetUp();
    Query("DELETE FROM deliveries");
  }
};

// These look at whole tables, so each begins with empty ones.
class OpenDeliveries : public DeliveryTest {
 protected:
  void SetUp() override {
    DeliveryTest::SetUp();
    Query(
        "DELETE FROM notifications; DELETE FROM feed_items; DELETE FROM deliveries; DELETE FROM stragglers;"
        "UPDATE sweep_positions SET position = '00000000-0000-0000-0000-000000000000';"
        "SELECT ensure_slices(now() - interval '2 days', now() + interval '1 day')");
  }
  void SweepAll() {
    for (const UpkeepStore::Pass pass : {UpkeepStore::Pass::kEarly, UpkeepStore::Pass::kLate}) {
      absl::StatusOr<int> read = 1;
      while (*read > 0) {
        read = upkeep_.SweepStep(pass, absl::Now() + absl::Minutes(1), 100);
        ASSERT_OK(read);
      }
    }
  }
  // As housekeeping does when the week is over.
  void Retire() {
    absl::StatusOr<bool> more = true;
    while (more.ok() && *more) more = upkeep_.RetireStep(absl::Now() + absl::Hours(24 * 7), 100);
    EXPECT_OK(more);
  }
  std::vector<Notification> Due() {
    const auto due = upkeep_.DueStragglers(Lane::kSocial, absl::Now() + absl::Hours(1), absl::ZeroDuration(), 100);
    EXPECT_OK(due);
    return due.value_or(std::vector<Notification>());
  }
  static bool SliceExists(const std::string& parent, absl::Time time) {
    const std::string day = absl::FormatTime("%Y%m%d", time, absl::UTCTimeZone());
    return Query(absl::StrCat("SELECT to_regclass('carillon.", parent, "_7_", day, "')")) != "";
  }

  PostgresUpkeepStore upkeep_{MakePool(2)};
};

// --- Those that wait.

TEST_F(HeldDeliveries, WaitInTheStoreAndComeBackWhenTheyAreDue) {
  const Begun begun = Begin({Channel::kEmail});
  const Delivery& delivery = begun.deliveries[0];
  const std::string payload = InDeliveries("encode(payload, 'hex')", delivery);
  const absl::Time due = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now() + absl::Minutes(10)));
  Hold(delivery, due);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
  EXPECT_EQ(Kept(delivery).hold_until, due);
  EXPECT_EQ(StateOf(begun.id), "accepted 1 - - open");
  EXPECT_EQ(CountRows("outbox"), "0");
  EXPECT_EQ(Stats(), "");
  EXPECT_EQ(ReleaseDue(), 0);
  Query("UPDATE schedules SET due_at = now()");
  EXPECT_EQ(ReleaseDue(Lane::kPayment), 0);
  EXPECT_EQ(ReleaseDue(), 1);
  EXPECT_EQ(ReleaseDue(), 0);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kPending);
  EXPECT_EQ(Kept(delivery).hold_until, std::nullopt);
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(
      Query("SELECT concat_ws(' ', message_id, app_id, lane, exchange, routing_key, type, encode(payload, 'hex')) "
            "FROM outbox"),
      absl::StrCat(delivery.id.ToString(), " ", app_.value(), " social carillon.delivery social.email like ", payload));
  EXPECT_TRUE(Claim(delivery).claimed);
}

TEST_F(HeldDeliveries, AreReleasedByTheProviderTheyWaitForOldestFirst) {
  std::vector<Delivery> waiting;
  for (int i = 0; i < 5; ++i) {
    waiting.push_back(BeginOne());
    Hold(waiting.back(), absl::Now() + absl::Minutes(15 - i));
  }
  const Delivery by_sms = BeginOne(Channel::kSms), for_receipt = BeginOne(), for_room = BeginOne();
  Hold(by_sms, absl::Now() + absl::Minutes(10));
  Hold(for_receipt, absl::Now() + absl::Minutes(10), HoldCause::kReceipt);
  Hold(for_room, absl::Now() + absl::Minutes(10), HoldCause::kBusy);
  EXPECT_EQ(Release(AppId(1)), 0);
  EXPECT_EQ(Release(app_, Channel::kEmail, Lane::kPayment), 0);
  EXPECT_EQ(Release(app_, Channel::kEmail, Lane::kSocial, 2), 2);
  EXPECT_EQ(Kept(waiting[0]).state, DeliveryState::kPending);
  EXPECT_EQ(Kept(waiting[1]).state, DeliveryState::kPending);
  EXPECT_EQ(Kept(waiting[2]).state, DeliveryState::kHeld);
  EXPECT_EQ(Release(app_), 3);
  EXPECT_EQ(Release(app_), 0);
  EXPECT_EQ(CountRows("outbox"), "5");
  for (const Delivery& delivery : {by_sms, for_receipt, for_room}) {
    EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
  }
}

TEST_F(HeldDeliveries, AreForgottenWhenTheyEndedMeanwhile) {
  const Delivery delivery = BeginOne();
  Hold(delivery, absl::Now() - absl::Seconds(1), HoldCause::kReceipt);
  Query("UPDATE deliveries SET state = 'delivered', finished_at = now() WHERE delivery_id = '" +
        delivery.id.ToString() + "'");
  EXPECT_EQ(ReleaseDue(), 1);
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(CountRows("outbox"), "0");
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kDelivered);
}

TEST_F(HeldDeliveries, AreReleasedOnceByManyAtOnce) {
  for (int i = 0; i < 40; ++i) Hold(BeginOne(), absl::Now() - absl::Seconds(1));
  std::atomic<int> released = 0;
  RunThreads(4, [&](int i) {
    for (int step = 0; step < 10; ++step) {
      released += i % 2 == 0 ? Release(app_, Channel::kEmail, Lane::kSocial, 3) : ReleaseDue();
    }
  });
  EXPECT_EQ(released, 40);
  EXPECT_EQ(CountRows("outbox"), "40");
}

TEST_F(HeldDeliveries, MayWaitAgainAndAgain) {
  const Delivery delivery = BeginOne();
  for (int i = 0; i < 3; ++i) {
    Hold(delivery, absl::Now() - absl::Seconds(1));
    EXPECT_EQ(ReleaseDue(), 1);
    EmptyOutbox();
  }
  End(delivery, DeliveryState::kSent);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kSent);
}

// --- Those that no queue holds any more.

TEST_F(IdleDeliveries, AreQueuedAgainOnce) {
  const Delivery delivery = BeginOne();
  EXPECT_EQ(Requeue(), 0) << "it was touched a moment ago";
  MakeIdle();
  EXPECT_EQ(Requeue(Channel::kSms), 0);
  EXPECT_EQ(Requeue(Channel::kEmail, Lane::kPayment), 0);
  EXPECT_EQ(Requeue(), 1);
  EXPECT_EQ(Requeue(), 0);
  EXPECT_EQ(Query("SELECT concat_ws(' ', message_id, exchange, routing_key) FROM outbox"),
            delivery.id.ToString() + " carillon.delivery social.email");
  EXPECT_EQ(Query("SELECT encode(payload, 'hex') FROM outbox"), InDeliveries("encode(payload, 'hex')", delivery));
}

TEST_F(IdleDeliveries, AreNotThoseThatAreClaimedQueuedHeldOrEnded) {
  const Delivery claimed = BeginOne(), held = BeginOne(), ended = BeginOne(), abandoned = BeginOne();
  Claim(claimed);
  Hold(held, absl::Now() + absl::Minutes(10));
  End(ended, DeliveryState::kSent);
  Claim(abandoned, false, absl::Microseconds(1));
  Query("UPDATE deliveries SET claimed_until = now() - interval '1 hour' WHERE delivery_id = '" +
        abandoned.id.ToString() + "'");
  EmptyOutbox();
  const NewNotification item = Accepted();
  Decide(DecisionFor(item, {Channel::kEmail}));
  MakeIdle();
  EXPECT_EQ(Requeue(), 1);
  EXPECT_EQ(Query("SELECT count(*) FROM outbox WHERE message_id = '" + abandoned.id.ToString() + "'"), "1");
  EXPECT_EQ(CountRows("outbox"), "2");
  Query("UPDATE outbox SET deferred = true");
  MakeIdle();
  EXPECT_EQ(Requeue(), 0);
}

TEST_F(IdleDeliveries, AreQueuedSoManyAtATime) {
  for (int i = 0; i < 5; ++i) BeginOne();
  MakeIdle();
  EXPECT_EQ(Requeue(Channel::kEmail, Lane::kSocial, 3), 3);
  EXPECT_EQ(Requeue(Channel::kEmail, Lane::kSocial, 3), 2);
}

// --- Housekeeping.

TEST_F(OpenDeliveries, KeepTheSweepFromQueueingTheirNotificationAgain) {
  const NewNotification item = Accepted("ann", absl::Now() - absl::Minutes(5));
  const FeedDelivery decision = DecisionFor(item, {Channel::kEmail});
  Decide(decision);
  EmptyOutbox();
  SweepAll();
  EXPECT_EQ(CountRows("stragglers"), "1");
  EXPECT_THAT(Due(), IsEmpty());
  EXPECT_THAT(upkeep_.Reenqueue({item}), IsOkAndHolds(0));
  EXPECT_EQ(CountRows("outbox"), "0");
  EXPECT_EQ(CountRows("stragglers"), "0") << "its deliveries are looked after by themselves";
  End(DeliveriesIn(decision, item)[0], DeliveryState::kSent);
  EXPECT_THAT(Due(), IsEmpty());
  EXPECT_EQ(CountRows("stragglers"), "0");
}

TEST_F(OpenDeliveries, KeepTheirSlices) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  const NewNotification item = Accepted("ann", old);
  const FeedDelivery decision = DecisionFor(item, {Channel::kEmail, Channel::kSms}, /*to_feed=*/true);
  Decide(decision);
  SweepAll();
  const std::vector<Delivery> deliveries = DeliveriesIn(decision, item);
  End(deliveries[0], DeliveryState::kSent);
  Hold(deliveries[1], absl::Now() + absl::Minutes(10));
  // As if nothing but the delivery were open.
  Query("UPDATE notifications SET state = 'delivered', finished_at = now()");
  Retire();
  for (const char* parent : {"notifications", "feed_items", "deliveries"}) EXPECT_TRUE(SliceExists(parent, old));
  Query("UPDATE deliveries SET state = 'sent', finished_at = now() WHERE state = 'held'; DELETE FROM schedules");
  EXPECT_THAT(Due(), IsEmpty());
  Retire();
  for (const char* parent : {"notifications", "feed_items", "deliveries"}) EXPECT_FALSE(SliceExists(parent, old));
}

TEST_F(OpenDeliveries, KeepTheirSlicesWhileTheyWaitInADigest) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  const NewNotification item = Accepted("ann", old);
  const FeedDelivery decision = DecisionFor(item, {Channel::kEmail});
  Decide(decision);
  SweepAll();
  const Delivery delivery = DeliveriesIn(decision, item)[0];
  Query(absl::StrCat(
      "UPDATE deliveries SET state = 'held'; INSERT INTO digests (digest_id, app_id, channel, recipient_id) "
      "VALUES ('",
      delivery.id.ToString(), "', ", app_.value(),
      ", 'email', 'ann'); "
      "INSERT INTO digest_entries SELECT '",
      delivery.id.ToString(), "', notification_id, delivery_id, 7 FROM deliveries"));
  EXPECT_THAT(Due(), IsEmpty());
  Retire();
  for (const char* parent : {"notifications", "deliveries"}) EXPECT_TRUE(SliceExists(parent, old));
  Query(
      "DELETE FROM digests; UPDATE deliveries SET state = 'sent', finished_at = now();"
      "UPDATE notifications SET state = 'delivered', finished_at = now()");
  Retire();
  for (const char* parent : {"notifications", "deliveries"}) EXPECT_FALSE(SliceExists(parent, old));
}

TEST_F(OpenDeliveries, KeepTheSlicesOfEventsThatHaveNoNotification) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  const NewNotification item = Accepted("ann", old);
  const FeedDelivery decision = DecisionFor(item, {Channel::kEmail});
  Decide(decision);
  Query("DELETE FROM notifications");
  SweepAll();
  Retire();
  EXPECT_TRUE(SliceExists("deliveries", old));
  End(DeliveriesIn(decision, item)[0], DeliveryState::kSent);
  Retire();
  EXPECT_FALSE(SliceExists("deliveries", old));
}

}  // namespace
}  // namespace carillon::testing
