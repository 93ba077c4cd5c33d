// What becomes of deliveries, and of their notifications.
#include <gmock/gmock.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/dead_letter_store.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class RecordDeliveries : public DeliveryTest {};
class DeadDeliveries : public DeliveryTest {
 protected:
  void GiveUp(const Delivery& delivery) { ASSERT_OK(letters_.Record({LetterOf(delivery)})); }

  PostgresDeadLetterStore letters_{MakePool(1)};
};

// --- What became of them.

TEST_F(RecordDeliveries, KeepsWhatTheProviderSaid) {
  const Begun begun = Begin({Channel::kSms});
  const Delivery& delivery = begun.deliveries[0];
  DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kSent);
  update.attempts = {AttemptAt(absl::Now() - absl::Seconds(1), AttemptOutcome::kRetryable),
                     AttemptAt(absl::Now(), AttemptOutcome::kAccepted, "SM-1")};
  update.attempts[1].provider = "vonage-1";
  Record(update);
  const DeliveryRecord record = Kept(delivery);
  EXPECT_EQ(record.state, DeliveryState::kSent);
  EXPECT_EQ(record.provider, "vonage-1");
  EXPECT_EQ(record.provider_message_id, "SM-1");
  EXPECT_EQ(record.detail, "");
  EXPECT_NE(record.finish_time, std::nullopt);
  EXPECT_EQ(record.hold_until, std::nullopt);
  ASSERT_THAT(record.attempts, SizeIs(2));
  const DeliveryAttempt& first = record.attempts[0];
  EXPECT_EQ(first.provider, "twilio-1");
  EXPECT_EQ(first.time, update.attempts[0].time);
  EXPECT_EQ(first.outcome, AttemptOutcome::kRetryable);
  EXPECT_EQ(first.code, "500");
  EXPECT_EQ(first.error, update.attempts[0].error);
  EXPECT_EQ(first.latency, absl::Milliseconds(120));
  EXPECT_EQ(record.attempts[1].provider_message_id, "SM-1");
  EXPECT_EQ(InDeliveries("payload IS NULL", delivery), "t");
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
}

TEST_F(RecordDeliveries, CountsAndTellsEachEndOnce) {
  const Begun begun = Begin({Channel::kSms});
  const Delivery& delivery = begun.deliveries[0];
  DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kSent);
  update.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kAccepted, "SM-1")};
  for (int i = 0; i < 2; ++i) Record(update);
  EXPECT_EQ(Stats(), "sms sent 1");
  EXPECT_EQ(Events(), "sent.social.sms");
  EXPECT_EQ(
      Events("concat_ws(' ', event->>'event', event->>'app_id', event->>'notification_id', event->>'delivery_id', "
             "event->>'user_id', event->>'type', event->>'channel', event->>'provider', "
             "event->>'provider_message_id', event->>'code')"),
      absl::StrCat("sent ", app_.value(), " ", begun.id.ToString(), " ", delivery.id.ToString(),
                   " ann like sms twilio-1 SM-1 500"));
  EXPECT_EQ(Query("SELECT lane FROM outbox"), "marketing");
}

TEST_F(RecordDeliveries, WritesEveryEnd) {
  struct End {
    DeliveryState state;
    const char* notification;
  };
  for (const End& end : {End{DeliveryState::kSent, "delivered 0 delivered - ended"},
                         End{DeliveryState::kSuppressed, "suppressed 0 suppressed why ended"},
                         End{DeliveryState::kExpired, "expired 0 expired why ended"},
                         End{DeliveryState::kDead, "dead 0 dead why ended"}}) {
    const Begun begun = Begin({Channel::kEmail});
    DeliveryTest::End(begun.deliveries[0], end.state, "why");
    const DeliveryRecord record = Kept(begun.deliveries[0]);
    EXPECT_EQ(record.state, end.state);
    EXPECT_EQ(record.detail, "why");
    EXPECT_NE(record.finish_time, std::nullopt);
    EXPECT_EQ(StateOf(begun.id), end.notification);
  }
}

TEST_F(RecordDeliveries, GoOnWhilePending) {
  const Begun begun = Begin({Channel::kEmail});
  const Delivery& delivery = begun.deliveries[0];
  End(delivery, DeliveryState::kPending, "it failed");
  const DeliveryRecord record = Kept(delivery);
  EXPECT_EQ(record.state, DeliveryState::kPending);
  EXPECT_EQ(record.detail, "it failed");
  EXPECT_EQ(record.finish_time, std::nullopt);
  EXPECT_EQ(StateOf(begun.id), "accepted 1 - - open");
  EXPECT_EQ(CountRows("outbox"), "0");
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(InDeliveries("payload IS NULL", delivery), "f");
  EXPECT_TRUE(Claim(delivery).claimed);
}

TEST_F(RecordDeliveries, EndTheirNotificationWithTheBestOfThem) {
  const std::vector<std::pair<DeliveryState, std::string>> by_rank = {{DeliveryState::kSent, "delivered"},
                                                                      {DeliveryState::kDead, "dead"},
                                                                      {DeliveryState::kExpired, "expired"},
                                                                      {DeliveryState::kSuppressed, "suppressed"}};
  for (size_t a = 0; a < by_rank.size(); ++a) {
    for (size_t b = 0; b < by_rank.size(); ++b) {
      const Begun begun = Begin({Channel::kEmail, Channel::kSms});
      End(begun.deliveries[0], by_rank[a].first, "of the first");
      const std::string first = by_rank[a].second;
      EXPECT_EQ(StateOf(begun.id),
                absl::StrCat("accepted 1 ", first, first == "delivered" ? " - open" : " of the first open"));
      End(begun.deliveries[1], by_rank[b].first);
      const std::string best = by_rank[std::min(a, b)].second;
      EXPECT_THAT(StateOf(begun.id), AllOf(StartsWith(absl::StrCat(best, " 0 ", best)), HasSubstr("ended")));
      const Begun together = Begin({Channel::kEmail, Channel::kSms});
      const DeliveryUpdate one =
          UpdateOf(together.deliveries[0], Claim(together.deliveries[0]).claim, by_rank[a].first);
      const DeliveryUpdate other =
          UpdateOf(together.deliveries[1], Claim(together.deliveries[1]).claim, by_rank[b].first);
      ASSERT_OK(store_.Record({one, other}));
      EXPECT_EQ(StateOf(together.id), absl::StrCat(best, " 0 ", best, " - ended"));
    }
  }
}

TEST_F(RecordDeliveries, EndANotificationOfTheFeedAsDelivered) {
  const Begun begun = Begin({Channel::kEmail}, /*to_feed=*/true);
  End(begun.deliveries[0], DeliveryState::kDead, "gone wrong");
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
}

TEST_F(RecordDeliveries, CloseANotificationOnceWhenItsLastTwoEndTogether) {
  PostgresDeliveryStore others[] = {PostgresDeliveryStore(MakePool(1)), PostgresDeliveryStore(MakePool(1))};
  for (int round = 0; round < 50; ++round) {
    const Begun begun = Begin({Channel::kEmail, Channel::kSms});
    std::vector<DeliveryUpdate> updates;
    for (const Delivery& delivery : begun.deliveries) {
      updates.push_back(
          UpdateOf(delivery, Claim(delivery).claim, updates.empty() ? DeliveryState::kExpired : DeliveryState::kSent));
    }
    RunThreads(2, [&](int i) { EXPECT_OK(others[i].Record({updates[i]})); });
    ASSERT_EQ(StateOf(begun.id), "delivered 0 delivered - ended") << round;
  }
  EXPECT_EQ(Stats(), "email expired 50, sms sent 50");
}

TEST_F(RecordDeliveries, ChangeNothingWhenTheyAreRepeated) {
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  const Delivery& delivery = begun.deliveries[0];
  DeliveryUpdate failed = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
  failed.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kRetryable)};
  for (int i = 0; i < 3; ++i) Record(failed);
  EXPECT_THAT(Kept(delivery).attempts, SizeIs(1));
  const DeliveryUpdate sent = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kSent);
  for (int i = 0; i < 3; ++i) Record(sent);
  EXPECT_EQ(StateOf(begun.id), "accepted 1 delivered - open");
  EXPECT_EQ(Stats(), "email sent 1");
}

TEST_F(RecordDeliveries, TellWhoseDeliveriesWaitForProviders) {
  EXPECT_THAT(store_.AppsWithHeld(Channel::kEmail, Lane::kSocial), IsOkAndHolds(IsEmpty()));
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  Hold(begun.deliveries[0], absl::Now() + absl::Minutes(10));
  Hold(begun.deliveries[1], absl::Now() + absl::Minutes(10), HoldCause::kReceipt);
  EXPECT_THAT(store_.AppsWithHeld(Channel::kEmail, Lane::kSocial), IsOkAndHolds(ElementsAre(app_)));
  EXPECT_THAT(store_.AppsWithHeld(Channel::kEmail, Lane::kOtp), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_.AppsWithHeld(Channel::kSms, Lane::kSocial), IsOkAndHolds(IsEmpty())) << "no provider is out";
}

TEST_F(RecordDeliveries, KeepTheNewestTwentyAttempts) {
  const Delivery delivery = BeginOne();
  const absl::Time began = absl::Now() - absl::Hours(1);
  for (int round = 0; round < 9; ++round) {
    DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
    for (int i = 0; i < 3; ++i) {
      update.attempts.push_back(AttemptAt(began + absl::Seconds(3 * round + i), AttemptOutcome::kRetryable));
    }
    Record(update);
  }
  const std::vector<DeliveryAttempt> attempts = Kept(delivery).attempts;
  ASSERT_THAT(attempts, SizeIs(20));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(attempts[i].time, AttemptAt(began + absl::Seconds(7 + i), AttemptOutcome::kRetryable).time);
  }
}

TEST_F(RecordDeliveries, StoreWhateverAProviderSays) {
  const Delivery delivery = BeginOne();
  DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
  DeliveryAttempt attempt = AttemptAt(absl::Now(), AttemptOutcome::kRetryable);
  attempt.error = std::string("zero \0, \xff\xfe, \x01 and ", 18) + std::string(100'000, 'x');
  attempt.code = "\xc3";
  update.attempts = {attempt};
  update.detail = attempt.error;
  Record(update);
  EXPECT_THAT(Kept(delivery).attempts, SizeIs(1));
}

TEST_F(RecordDeliveries, ForgetADeadDeviceUnlessItWasRegisteredSince) {
  const NewNotification item = Accepted();
  FeedDelivery decision = DecisionFor(item, {});
  decision.deliveries = {Pending(item, Channel::kFcm, "before"), Pending(item, Channel::kFcm, "since")};
  Decide(decision);
  Query(absl::StrCat("INSERT INTO devices (app_id, registered_at, recipient_id, channel, device_id, token) VALUES (",
                     app_.value(), ", to_timestamp(1000), 'ann', 'fcm', 'before', 'a'), (", app_.value(),
                     ", to_timestamp(3000), 'ann', 'fcm', 'since', 'b'), (", app_.value(),
                     ", to_timestamp(1000), 'ann', 'apns', 'before-1', 'c')"));
  for (const Delivery& delivery : DeliveriesIn(decision, item)) {
    DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kSuppressed);
    update.device_dead_since = absl::FromUnixSeconds(2000);
    Record(update);
  }
  EXPECT_EQ(Query(absl::StrCat("SELECT string_agg(device_id, ' ' ORDER BY device_id) FROM devices WHERE app_id = ",
                               app_.value())),
            "before-1 since");
}

TEST_F(RecordDeliveries, SuppressAnAddressFromThenOn) {
  const Delivery delivery = BeginOne();
  DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
  update.suppress_reason = "hard bounce";
  update.address = "Ann@Example.org";
  Record(update);
  EXPECT_EQ(
      Query(absl::StrCat("SELECT concat_ws(' ', channel, address, type, reason) FROM suppressions WHERE app_id = ",
                         app_.value())),
      "email Ann@Example.org  hard bounce");
  EXPECT_EQ(Claim(BeginOne()).suppressed, "hard bounce");
  DeliveryUpdate again = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
  again.suppress_reason = "another";
  again.address = "ann@example.org";
  Record(again);
  EXPECT_EQ(Claim(BeginOne()).suppressed, "hard bounce");
}

// --- Those that were given up.

TEST_F(DeadDeliveries, EndTheirNotificationAndAreCountedAndTold) {
  const Begun begun = Begin({Channel::kSms});
  const Delivery& delivery = begun.deliveries[0];
  Claim(delivery);
  GiveUp(delivery);
  const DeliveryRecord record = Kept(delivery);
  EXPECT_EQ(record.state, DeliveryState::kDead);
  EXPECT_EQ(record.detail, "twilio-1: 400 no");
  EXPECT_NE(record.finish_time, std::nullopt);
  EXPECT_EQ(InDeliveries("payload IS NULL AND claimed_until IS NULL", delivery), "t");
  EXPECT_EQ(StateOf(begun.id), "dead 0 dead twilio-1: 400 no ended");
  EXPECT_EQ(LetterStates(delivery), "dead");
  EXPECT_EQ(Stats(), "sms dead 1");
  EXPECT_EQ(Events(), "dead.social.sms");
}

TEST_F(DeadDeliveries, AreRecordedOnce) {
  const Begun begun = Begin({Channel::kSms, Channel::kEmail});
  for (int i = 0; i < 2; ++i) GiveUp(begun.deliveries[0]);
  EXPECT_EQ(LetterStates(begun.deliveries[0]), "dead");
  EXPECT_EQ(StateOf(begun.id), "accepted 1 dead twilio-1: 400 no open");
  EXPECT_EQ(Stats(), "sms dead 1");
}

TEST_F(DeadDeliveries, LeaveWhatGotThroughElsewhereDelivered) {
  const Begun begun = Begin({Channel::kSms, Channel::kEmail});
  GiveUp(begun.deliveries[0]);
  End(begun.deliveries[1], DeliveryState::kSent);
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
}

TEST_F(DeadDeliveries, AreMootIfTheyHadBeenSent) {
  const Begun begun = Begin({Channel::kSms});
  End(begun.deliveries[0], DeliveryState::kSent);
  GiveUp(begun.deliveries[0]);
  EXPECT_EQ(Kept(begun.deliveries[0]).state, DeliveryState::kSent);
  EXPECT_EQ(LetterStates(begun.deliveries[0]), "moot");
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
  EXPECT_EQ(Stats(), "sms sent 1");
}

TEST_F(DeadDeliveries, LeaveANotificationThatHasEndedAsItIs) {
  const Begun begun = Begin({Channel::kSms}, /*to_feed=*/true);
  Query("UPDATE notifications SET state = 'cancelled', finished_at = now() WHERE notification_id = '" +
        begun.id.ToString() + "'");
  GiveUp(begun.deliveries[0]);
  EXPECT_EQ(Kept(begun.deliveries[0]).state, DeliveryState::kDead);
  EXPECT_THAT(StateOf(begun.id), StartsWith("cancelled"));
}

TEST_F(DeadDeliveries, EndTogetherInOneCall) {
  const Begun begun = Begin({Channel::kSms, Channel::kEmail});
  const NewNotification plain = Accepted();
  ASSERT_OK(letters_.Record({LetterOf(begun.deliveries[0]), LetterOf(begun.deliveries[1])}));
  EXPECT_EQ(StateOf(begun.id), "dead 0 dead twilio-1: 400 no ended");
  EXPECT_EQ(StateOf(plain.notification.id), "accepted - - - open");
}

}  // namespace
}  // namespace carillon::testing
