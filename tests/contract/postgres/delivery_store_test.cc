#include "carillon/postgres/delivery_store.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class BeginDeliveries : public DeliveryTest {};
class ReadContacts : public DeliveryTest {};
class ClaimDeliveries : public DeliveryTest {};

// --- A decision and its deliveries.

TEST_F(BeginDeliveries, WritesItemDeliveriesAndTheirOutboxRowsTogether) {
  const NewNotification item = Accepted();
  FeedDelivery decision = DecisionFor(item, {Channel::kEmail, Channel::kWebhook}, /*to_feed=*/true);
  decision.traceparent = "00-1-2-01";
  decision.deliveries.push_back(Pending(item, Channel::kFcm, "device-1"));
  // As they are listed and taken: those of a millisecond have no order.
  std::sort(decision.deliveries.begin(), decision.deliveries.end(),
            [](const NewDelivery& a, const NewDelivery& b) { return a.id < b.id; });
  ASSERT_OK_AND_ASSIGN(const auto outcomes, feeds_.Deliver({decision}));
  EXPECT_TRUE(outcomes[0].applied);
  EXPECT_EQ(outcomes[0].seq, 1);
  EXPECT_EQ(StateOf(item.notification.id), "accepted 3 delivered - open");
  EXPECT_THAT(feeds_.List({.key = decision.key, .limit = 10}), IsOkAndHolds(SizeIs(1)));

  ASSERT_OK_AND_ASSIGN(const std::vector<DeliveryRecord> records, store_.List(app_, item.notification.id));
  ASSERT_THAT(records, SizeIs(3));
  PostgresOutboxReader reader(Options(), Lane::kSocial);
  ASSERT_OK_AND_ASSIGN(const std::vector<OutboxRow> rows, reader.Take(10));
  ASSERT_THAT(rows, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    const NewDelivery& begun = decision.deliveries[i];
    EXPECT_EQ(records[i].id, begun.id);
    EXPECT_EQ(records[i].channel, begun.channel);
    EXPECT_EQ(records[i].device_id, begun.device_id);
    EXPECT_EQ(records[i].state, DeliveryState::kPending);
    EXPECT_EQ(records[i].finish_time, std::nullopt);
    EXPECT_THAT(records[i].attempts, IsEmpty());
    EXPECT_EQ(rows[i].message_id, begun.id);
    EXPECT_EQ(rows[i].app, app_);
    EXPECT_EQ(rows[i].type, "like");
    EXPECT_EQ(rows[i].exchange, "carillon.delivery");
    EXPECT_EQ(rows[i].routing_key, absl::StrCat("social.", ToString(begun.channel)));
    EXPECT_EQ(rows[i].traceparent, "00-1-2-01");
    EXPECT_EQ(rows[i].payload, begun.envelope);
  }
}

TEST_F(BeginDeliveries, BeginsOnceWhatIsNamedTwiceInABatch) {
  const NewNotification item = Accepted();
  const FeedDelivery decision = DecisionFor(item, {Channel::kEmail}, /*to_feed=*/true);
  const FeedDelivery again = DecisionFor(item, {Channel::kEmail}, /*to_feed=*/true);
  ASSERT_OK_AND_ASSIGN(const auto outcomes, feeds_.Deliver({decision, again}));
  EXPECT_TRUE(outcomes[0].applied);
  EXPECT_FALSE(outcomes[1].applied);
  EXPECT_EQ(CountRows("outbox"), "1");
  EXPECT_THAT(store_.List(app_, item.notification.id), IsOkAndHolds(SizeIs(1)));
  EXPECT_EQ(StateOf(item.notification.id), "accepted 1 delivered - open");
}

TEST_F(BeginDeliveries, ChangesNothingWhenItIsRepeated) {
  const NewNotification item = Accepted();
  const FeedDelivery decision = DecisionFor(item, {Channel::kEmail}, /*to_feed=*/true);
  Decide(decision);
  const FeedDelivery again = DecisionFor(item, {Channel::kEmail}, /*to_feed=*/true);
  ASSERT_OK_AND_ASSIGN(const auto outcomes, feeds_.Deliver({decision, again}));
  EXPECT_FALSE(outcomes[0].applied || outcomes[1].applied);
  EXPECT_EQ(CountRows("outbox"), "1");
  EXPECT_THAT(store_.List(app_, item.notification.id), IsOkAndHolds(SizeIs(1)));
  EXPECT_THAT(feeds_.List({.key = decision.key, .limit = 10}), IsOkAndHolds(SizeIs(1)));
  EXPECT_EQ(StateOf(item.notification.id), "accepted 1 delivered - open");
}

TEST_F(BeginDeliveries, WritesNoItemForWhatGoesOutsideAlone) {
  const NewNotification item = Accepted();
  Decide(DecisionFor(item, {Channel::kEmail}));
  EXPECT_EQ(StateOf(item.notification.id), "accepted 1 - - open");
  EXPECT_THAT(feeds_.List({.key = {app_, RecipientId("ann")}, .limit = 10}), IsOkAndHolds(IsEmpty()));
}

TEST_F(BeginDeliveries, EndsWhatCanGoNowhereAtOnceAndCountsIt) {
  const NewNotification item = Accepted();
  FeedDelivery decision = DecisionFor(item, {});
  decision.state = State::kSuppressed;
  decision.detail = "no address";
  decision.deliveries = {Suppressed(Channel::kEmail, "no address"), Suppressed(Channel::kSms, "no number")};
  Decide(decision);
  EXPECT_EQ(StateOf(item.notification.id), "suppressed - - no address ended");
  ASSERT_OK_AND_ASSIGN(const std::vector<DeliveryRecord> records, store_.List(app_, item.notification.id));
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[0].state, DeliveryState::kSuppressed);
  EXPECT_EQ(records[0].detail, "no address");
  EXPECT_NE(records[0].finish_time, std::nullopt);
  EXPECT_EQ(Stats(), "email suppressed 1, sms suppressed 1");
  EXPECT_EQ(Events(), "suppressed.social.email suppressed.social.sms");
  EXPECT_EQ(Query("SELECT count(*) FROM outbox WHERE exchange = 'carillon.delivery'"), "0");
}

TEST_F(BeginDeliveries, LetsAnItemEndWhoseDeliveriesAreAllSuppressed) {
  const NewNotification item = Accepted();
  FeedDelivery decision = DecisionFor(item, {}, /*to_feed=*/true);
  decision.deliveries = {Suppressed(Channel::kEmail, "no address")};
  Decide(decision);
  EXPECT_EQ(StateOf(item.notification.id), "delivered - - - ended");
}

TEST_F(BeginDeliveries, KeepsMixedDecisionsApart) {
  std::vector<FeedDelivery> decisions;
  std::vector<NewNotification> items;
  for (int i = 0; i < 4; ++i) items.push_back(Accepted());
  decisions.push_back(DecisionFor(items[0], {}, true));
  decisions.push_back(DecisionFor(items[1], {Channel::kEmail}, true));
  decisions.push_back(DecisionFor(items[2], {Channel::kSms}));
  decisions.push_back(DeliveryOf(items[3]));
  decisions[3].state = State::kExpired;
  ASSERT_OK_AND_ASSIGN(const auto outcomes, feeds_.Deliver(decisions));
  EXPECT_THAT((std::vector<int64_t>{outcomes[0].seq, outcomes[1].seq, outcomes[2].seq, outcomes[3].seq}),
              ElementsAre(1, 2, 0, 0));
  EXPECT_EQ(StateOf(items[0].notification.id), "delivered - - - ended");
  EXPECT_EQ(StateOf(items[1].notification.id), "accepted 1 delivered - open");
  EXPECT_EQ(StateOf(items[2].notification.id), "accepted 1 - - open");
  EXPECT_EQ(StateOf(items[3].notification.id), "expired - - - ended");
  EXPECT_EQ(CountRows("outbox"), "2");
}

TEST_F(BeginDeliveries, ShowTheirNotificationAsQueuedOrHeld) {
  PostgresNotificationStore notifications(MakePool(1));
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  const auto shown = [&] {
    const auto record = notifications.Get(app_, begun.id);
    EXPECT_OK(record);
    return record.ok() ? record->state : State::kDead;
  };
  EXPECT_EQ(shown(), State::kQueued);
  Hold(begun.deliveries[0], absl::Now() + absl::Minutes(10));
  EXPECT_EQ(shown(), State::kQueued);
  Hold(begun.deliveries[1], absl::Now() + absl::Minutes(10));
  EXPECT_EQ(shown(), State::kHeld);
}

TEST_F(BeginDeliveries, AreListedForTheirOwnAppOnly) {
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  EXPECT_THAT(store_.List(app_, begun.id), IsOkAndHolds(SizeIs(2)));
  EXPECT_THAT(store_.List(AppId(1), begun.id), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_.List(app_, NewUuid7(absl::Now())), IsOkAndHolds(IsEmpty()));
}

// --- Contacts.

TEST_F(ReadContacts, TellsInOrderWhoCanBeReachedWhere) {
  Query(absl::StrCat("INSERT INTO recipients (app_id, recipient_id, phone) VALUES (", app_.value(),
                     ", 'ben', '+4915112345679'); INSERT INTO devices (app_id, registered_at, recipient_id, channel, "
                     "device_id, token) VALUES (",
                     app_.value(), ", now() - interval '1 day', 'ben', 'fcm', 'old', 'secret-1'), (", app_.value(),
                     ", now(), 'ben', 'apns', 'new', 'secret-2')"));
  const auto key = [&](const std::string& recipient) { return FeedKey{app_, RecipientId(recipient)}; };
  ASSERT_OK_AND_ASSIGN(const std::vector<Contacts> contacts,
                       store_.ReadContacts({key("ben"), key("nobody"), key("ann"), key("ben")}));
  ASSERT_THAT(contacts, SizeIs(4));
  EXPECT_FALSE(contacts[0].has_email);
  EXPECT_TRUE(contacts[0].has_phone);
  ASSERT_THAT(contacts[0].devices, SizeIs(2));
  EXPECT_EQ(contacts[0].devices[0].id, "new");
  EXPECT_EQ(contacts[0].devices[0].channel, Channel::kApns);
  EXPECT_EQ(contacts[0].devices[0].token, "");
  EXPECT_EQ(contacts[0].devices[1].id, "old");
  EXPECT_FALSE(contacts[1].has_email || contacts[1].has_phone);
  EXPECT_TRUE(contacts[2].has_email && contacts[2].has_phone);
  EXPECT_THAT(contacts[2].devices, IsEmpty());
  EXPECT_THAT(contacts[3].devices, SizeIs(2));
  EXPECT_THAT(store_.ReadContacts({}), IsOkAndHolds(IsEmpty()));
}

// --- Claims.

TEST_F(ClaimDeliveries, TellsWhereItGoesAndInWhichLanguage) {
  const Begun begun = Begin({Channel::kEmail, Channel::kSms, Channel::kWebhook});
  const ClaimResult mail = Claim(begun.deliveries[0]);
  EXPECT_TRUE(mail.claimed);
  EXPECT_EQ(mail.address, "Ann@Example.org");
  EXPECT_EQ(mail.locale, "es-MX");
  EXPECT_EQ(mail.default_locale, "de");
  EXPECT_EQ(mail.suppressed, "");
  EXPECT_FALSE(mail.interrupted);
  EXPECT_THAT(mail.attempts, IsEmpty());
  EXPECT_EQ(Claim(begun.deliveries[1]).address, "+4915112345678");
  const ClaimResult webhook = Claim(begun.deliveries[2]);
  EXPECT_TRUE(webhook.claimed);
  EXPECT_EQ(webhook.address, "");
}

TEST_F(ClaimDeliveries, TellsTheTokenOfItsDeviceAndWhenThatWasRegistered) {
  const NewNotification item = Accepted();
  FeedDelivery decision = DecisionFor(item, {});
  decision.deliveries = {Pending(item, Channel::kFcm, "mine"), Pending(item, Channel::kFcm, "gone")};
  Decide(decision);
  Query(absl::StrCat("INSERT INTO devices (app_id, registered_at, recipient_id, channel, device_id, token) VALUES (",
                     app_.value(), ", to_timestamp(1800000000), 'ann', 'fcm', 'mine', 'the token')"));
  const std::vector<Delivery> deliveries = DeliveriesIn(decision, item);
  const ClaimResult mine = Claim(deliveries[0]);
  EXPECT_EQ(mine.address, "the token");
  EXPECT_EQ(mine.device_register_time, absl::FromUnixSeconds(1'800'000'000));
  const ClaimResult gone = Claim(deliveries[1]);
  EXPECT_TRUE(gone.claimed);
  EXPECT_EQ(gone.address, "");
}

TEST_F(ClaimDeliveries, GoesToOneOfMany) {
  const Delivery delivery = BeginOne();
  std::atomic<int> claimed = 0;
  RunThreads(4, [&](int) { claimed += Claim(delivery).claimed; });
  EXPECT_EQ(claimed, 1);
  EXPECT_FALSE(Claim(delivery).claimed);
}

TEST_F(ClaimDeliveries, GoesToOneOfTwoInOneCall) {
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  const Delivery& twice = begun.deliveries[0];
  ASSERT_OK_AND_ASSIGN(const std::vector<ClaimResult> claims,
                       store_.Claim({ClaimRequest{&twice}, ClaimRequest{&twice}, ClaimRequest{&begun.deliveries[1]}},
                                    absl::Seconds(60)));
  ASSERT_THAT(claims, SizeIs(3));
  EXPECT_EQ(claims[0].claimed + claims[1].claimed, 1);
  EXPECT_TRUE(claims[2].claimed);
  EXPECT_EQ(claims[2].address, "+4915112345678");
  EXPECT_THAT(store_.Claim({}, absl::Seconds(60)), IsOkAndHolds(IsEmpty()));
}

TEST_F(ClaimDeliveries, IsTakenOverByWhoComesASecondTime) {
  const Delivery delivery = BeginOne();
  const ClaimResult first = Claim(delivery);
  const ClaimResult second = Claim(delivery, /*take_over=*/true);
  EXPECT_TRUE(second.claimed);
  EXPECT_GT(second.claim, first.claim);
  EXPECT_TRUE(second.interrupted) << "nobody said what came of the first";
  Record(UpdateOf(delivery, first.claim, DeliveryState::kSent));
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kPending) << "it was lost to the second";
  Record(UpdateOf(delivery, second.claim, DeliveryState::kSent));
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kSent);
}

TEST_F(ClaimDeliveries, EndsWithItsLease) {
  const Delivery delivery = BeginOne();
  EXPECT_TRUE(Claim(delivery, false, absl::Microseconds(1)).claimed);
  const ClaimResult second = Claim(delivery);
  EXPECT_TRUE(second.claimed);
  EXPECT_TRUE(second.interrupted);
  EXPECT_FALSE(Claim(delivery).claimed);
}

TEST_F(ClaimDeliveries, IsNotInterruptedOnceItsOutcomeIsRecorded) {
  const Delivery delivery = BeginOne();
  DeliveryUpdate failed = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
  failed.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kRetryable)};
  Record(failed);
  const ClaimResult again = Claim(delivery, /*take_over=*/true);
  EXPECT_TRUE(again.claimed);
  EXPECT_FALSE(again.interrupted);
  ASSERT_THAT(again.attempts, SizeIs(1));
  EXPECT_EQ(again.attempts[0].outcome, AttemptOutcome::kRetryable);
  EXPECT_EQ(again.attempts[0].provider, "twilio-1");
  EXPECT_EQ(again.attempts[0].time, failed.attempts[0].time);
}

TEST_F(ClaimDeliveries, IsRefusedForWhatHasEndedOrWaitsOrIsUnknown) {
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  End(begun.deliveries[0], DeliveryState::kSent);
  Hold(begun.deliveries[1], absl::Now() + absl::Minutes(1));
  Delivery unknown = begun.deliveries[0];
  unknown.id = NewUuid7(absl::Now());
  for (const Delivery& delivery : {begun.deliveries[0], begun.deliveries[1], unknown}) {
    EXPECT_FALSE(Claim(delivery, /*take_over=*/true).claimed);
  }
}

TEST_F(ClaimDeliveries, TellsThatAnAddressIsSuppressed) {
  const auto suppress = [&](const std::string& channel, const std::string& type, const std::string& address) {
    Query(
        absl::StrCat("DELETE FROM suppressions; INSERT INTO suppressions (app_id, channel, address_hash, type, reason) "
                     "VALUES (",
                     app_.value(), ", '", channel, "', sha256('", address, "'::bytea), '", type, "', 'because')"));
  };
  const auto suppressed = [&](Channel channel) { return Claim(BeginOne(channel)).suppressed; };
  suppress("email", "", "ann@example.org");
  EXPECT_EQ(suppressed(Channel::kEmail), "because") << "however it is written";
  EXPECT_EQ(suppressed(Channel::kSms), "");
  suppress("email", "like", "ann@example.org");
  EXPECT_EQ(suppressed(Channel::kEmail), "because");
  suppress("email", "another type", "ann@example.org");
  EXPECT_EQ(suppressed(Channel::kEmail), "");
  suppress("email", "", "ben@example.org");
  EXPECT_EQ(suppressed(Channel::kEmail), "");
  suppress("sms", "", "+4915112345678");
  EXPECT_EQ(suppressed(Channel::kSms), "because");
}

TEST_F(ClaimDeliveries, FindsNoAddressOfWhoWasErased) {
  const Delivery delivery = BeginOne();
  Query(absl::StrCat("DELETE FROM recipients WHERE app_id = ", app_.value()));
  const ClaimResult claim = Claim(delivery);
  EXPECT_TRUE(claim.claimed);
  EXPECT_EQ(claim.address, "");
  EXPECT_EQ(claim.locale, "");
  EXPECT_EQ(claim.default_locale, "de");
}

}  // namespace
}  // namespace carillon::testing
