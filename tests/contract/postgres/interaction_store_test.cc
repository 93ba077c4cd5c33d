#include "carillon/postgres/interaction_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/runtime/secrets.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A notification with one delivery, and whoever receives both.
class InteractionStoreTest : public PostgresTest {
 protected:
  struct Sent {
    NotificationId notification;
    Uuid delivery;
  };

  void SetUp() override {
    Query(absl::StrCat("INSERT INTO recipients (app_id, recipient_id, email, phone) VALUES (", app_.value(),
                       ", 'ann', 'Ann@Example.org', '+4915112345678')"));
  }

  // A notification that waits for `open` deliveries.
  NotificationId Accept(int open = 1) {
    const NewNotification item = MakeNew(app_);
    AcceptOne(item);
    Query(absl::StrCat("UPDATE notifications SET open_deliveries = ", open, " WHERE notification_id = '",
                       item.notification.id.ToString(), "'"));
    return item.notification.id;
  }
  Sent AddDelivery(const NotificationId& notification, const std::string& state, const std::string& channel = "email",
                   const std::string& provider_id = "") {
    const Sent sent{notification, NewUuid7(absl::Now())};
    Query(absl::StrCat(
        "INSERT INTO deliveries (notification_id, delivery_id, app_id, retention_days, lane, channel, state, type,"
        " recipient_id, finished_at, provider_message_id, payload, attempts) VALUES ('",
        notification.ToString(), "', '", sent.delivery.ToString(), "', ", app_.value(), ", 7, 'social', '", channel,
        "', '", state, "', 'like', 'ann', ", state == "pending" || state == "held" ? "NULL" : "clock_timestamp()",
        ", nullif('", provider_id, "', ''), 'p', '[{\"provider\": \"twilio-1\"}]')"));
    return sent;
  }
  Sent AddSent(const std::string& channel = "email", const std::string& provider_id = "") {
    return AddDelivery(Accept(0), "sent", channel, provider_id);
  }

  DeliveryReceipt ReceiptFor(const Sent& sent, DeliveryState state) const {
    return {
        .app = app_, .notification = sent.notification, .delivery = sent.delivery, .state = state, .time = absl::Now()};
  }
  Interaction InteractionWith(const NotificationId& id, InteractionKind kind, Channel channel = Channel::kEmail) const {
    return {.app = app_, .notification = id, .delivery = {}, .recipient = "", .channel = channel, .kind = kind};
  }
  Unsubscription UnsubscriptionOf(const Sent& sent, const std::string& address) const {
    return {.app = app_,
            .notification = sent.notification,
            .delivery = sent.delivery,
            .channel = Channel::kEmail,
            .type = "like",
            .address_hash = HashSecret(address)};
  }
  // Whether it named a delivery; -1: it failed.
  int Record(const DeliveryReceipt& receipt) {
    const auto matched = store_.RecordReceipts({receipt});
    return matched.ok() ? static_cast<int>(matched->front()) : -1;
  }

  std::string OfDelivery(const Sent& sent, const std::string& column) {
    return Query(
        absl::StrCat("SELECT ", column, " FROM deliveries WHERE delivery_id = '", sent.delivery.ToString(), "'"));
  }
  std::string OfNotification(const NotificationId& id, const std::string& column) {
    return Query(absl::StrCat("SELECT ", column, " FROM notifications WHERE notification_id = '", id.ToString(), "'"));
  }
  // "delivered 1, sent 1": what was counted. Of all days: midnight may pass.
  std::string Counts() {
    return Query(
        absl::StrCat("SELECT string_agg(kind || ' ' || count, ', ' ORDER BY kind COLLATE \"C\") FROM (SELECT kind, "
                     "sum(count) AS count"
                     " FROM daily_stats WHERE app_id = ",
                     app_.value(), " GROUP BY kind) AS s"));
  }
  // The routing keys of what carillon.events gets.
  std::string Events() {
    return Query(
        absl::StrCat("SELECT string_agg(routing_key, ' ' ORDER BY routing_key COLLATE \"C\") FROM outbox WHERE"
                     " exchange = 'carillon.events' AND lane = 'marketing' AND app_id = ",
                     app_.value()));
  }
  std::string Suppressions() {
    return Query(
        absl::StrCat("SELECT string_agg(channel || ':' || address || ':' || type || ':' || reason, ' ')"
                     " FROM suppressions WHERE address_hash = sha256(convert_to(lower(address), 'UTF8'))"
                     " AND app_id = ",
                     app_.value()));
  }

  const AppId app_ = NewApp();
  PostgresInteractionStore store_{MakePool(8)};
};

TEST_F(InteractionStoreTest, MovesASentDeliveryToItsFinalStateAndNeverBack) {
  const Sent sent = AddSent();
  EXPECT_EQ(Record(ReceiptFor(sent, DeliveryState::kDelivered)), 1);
  EXPECT_EQ(OfDelivery(sent, "state"), "delivered");
  EXPECT_EQ(Record(ReceiptFor(sent, DeliveryState::kUndelivered)), 1);
  EXPECT_EQ(Record(ReceiptFor(sent, DeliveryState::kDelivered)), 1);
  EXPECT_EQ(OfDelivery(sent, "state"), "delivered");
  EXPECT_EQ(Counts(), "delivered 1");
  EXPECT_EQ(Events(), "delivered.social.email");
}

TEST_F(InteractionStoreTest, KeepsCodeAndWordsOfWhatDidNotArrive) {
  const Sent sent = AddSent("sms");
  DeliveryReceipt receipt = ReceiptFor(sent, DeliveryState::kUndelivered);
  receipt.code = "30003";
  receipt.error = "unreachable";
  receipt.provider_message_id = "SM1";
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "detail"), "30003: unreachable");
  EXPECT_EQ(OfDelivery(sent, "provider_message_id"), "SM1");
  EXPECT_EQ(Counts(), "undelivered 1");
  EXPECT_EQ(Events(), "undelivered.social.sms");
}

TEST_F(InteractionStoreTest, TellsAnEventAsJson) {
  const Sent sent = AddSent("sms", "SM7");
  DeliveryReceipt receipt = ReceiptFor(sent, DeliveryState::kUndelivered);
  receipt.code = "30003";
  ASSERT_EQ(Record(receipt), 1);
  const std::string event =
      Query(absl::StrCat("SELECT convert_from(payload, 'UTF8') FROM outbox WHERE app_id = ", app_.value(),
                         " AND exchange = 'carillon.events'"));
  for (const std::string& part :
       {std::string(R"("event":"undelivered")"), absl::StrCat(R"("app_id":)", app_.value()),
        absl::StrCat(R"("notification_id":")", sent.notification.ToString(), "\""),
        absl::StrCat(R"("delivery_id":")", sent.delivery.ToString(), "\""), std::string(R"("user_id":"ann")"),
        std::string(R"("type":"like","channel":"sms","time":"2)"), std::string(R"("provider_message_id":"SM7")"),
        std::string(R"("code":"30003")")}) {
    std::string compact = event;
    compact.erase(std::remove(compact.begin(), compact.end(), ' '), compact.end());
    EXPECT_THAT(compact, HasSubstr(part));
  }
}

TEST_F(InteractionStoreTest, FindsDeliveriesByTheProvidersIdAndChannelOfTheSameApp) {
  const Sent sent = AddSent("sms", "SM2");
  DeliveryReceipt receipt{.app = NewApp(),
                          .notification = {},
                          .delivery = {},
                          .provider_message_id = "SM2",
                          .channel = Channel::kSms,
                          .state = DeliveryState::kDelivered,
                          .time = absl::Now()};
  EXPECT_EQ(Record(receipt), 0);
  receipt.app = app_;
  receipt.channel = Channel::kEmail;
  EXPECT_EQ(Record(receipt), 0);
  EXPECT_EQ(OfDelivery(sent, "state"), "sent");
  receipt.channel = Channel::kSms;
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state"), "delivered");
}

TEST_F(InteractionStoreTest, LeavesDeliveriesOfOtherAppsAlone) {
  const Sent sent = AddSent();
  DeliveryReceipt receipt = ReceiptFor(sent, DeliveryState::kDelivered);
  receipt.app = NewApp();
  EXPECT_EQ(Record(receipt), 0);
  EXPECT_EQ(OfDelivery(sent, "state"), "sent");
}

TEST_F(InteractionStoreTest, EndsAnUnconfirmedDeliveryAndItsNotification) {
  const Sent sent = AddDelivery(Accept(), "pending", "sms");
  Query(absl::StrCat(
      "INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel,"
      " recipient_id, exchange, routing_key, type, payload) VALUES (",
      app_.value(), ", now(), '", sent.notification.ToString(), "', '", sent.delivery.ToString(),
      "', 7, 'social', 'receipt', 'sms', 'ann', 'carillon.delivery', 'social.sms', 'like', 'p')"));
  EXPECT_EQ(Record(ReceiptFor(sent, DeliveryState::kDelivered)), 1);
  EXPECT_EQ(OfDelivery(sent, "state || ' ' || provider || ' ' || (payload IS NULL)::text"), "delivered twilio-1 true");
  EXPECT_EQ(
      OfNotification(sent.notification,
                     "state || ' ' || outcome || ' ' || open_deliveries || ' ' || (finished_at IS NOT NULL)::text"),
      "delivered delivered 0 true");
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM schedules WHERE app_id = ", app_.value())), "0");
  EXPECT_EQ(Counts(), "delivered 1, sent 1");
  EXPECT_EQ(Events(), "delivered.social.sms sent.social.sms");
}

TEST_F(InteractionStoreTest, LeavesANotificationOpenWhileOtherDeliveriesAre) {
  const NotificationId id = Accept(/*open=*/3);
  const Sent first = AddDelivery(id, "pending", "sms");
  const Sent second = AddDelivery(id, "held", "email");
  ASSERT_OK(store_.RecordReceipts({ReceiptFor(first, DeliveryState::kDelivered),
                                   ReceiptFor(second, DeliveryState::kUndelivered),
                                   ReceiptFor(first, DeliveryState::kUndelivered)}));
  EXPECT_EQ(OfNotification(id, "state || ' ' || outcome || ' ' || open_deliveries"), "accepted delivered 2");
  EXPECT_EQ(OfDelivery(first, "state") + " " + OfDelivery(second, "state"), "delivered held")
      << "what did not arrive goes on to the next provider";
}

TEST_F(InteractionStoreTest, DoesNotTouchWhatHasEndedOtherwise) {
  for (const char* state : {"suppressed", "expired", "undelivered"}) {
    const Sent sent = AddDelivery(Accept(0), state);
    EXPECT_EQ(Record(ReceiptFor(sent, DeliveryState::kDelivered)), 1);
    EXPECT_EQ(OfDelivery(sent, "state"), state);
  }
  EXPECT_EQ(Counts(), "");
}

TEST_F(InteractionStoreTest, DoesNotBelieveAnEarlierCallThatALaterOneFailed) {
  const Sent sent = AddSent("sms", "second-call");
  DeliveryReceipt receipt = ReceiptFor(sent, DeliveryState::kUndelivered);
  receipt.provider_message_id = "first-call";
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state"), "sent");
  receipt.state = DeliveryState::kDelivered;
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state"), "delivered");
}

TEST_F(InteractionStoreTest, TellsInOrderWhichReceiptsNamedADelivery) {
  const Sent known = AddSent();
  const Sent unknown{NewUuid7(absl::Now()), NewUuid7(absl::Now())};
  EXPECT_THAT(store_.RecordReceipts({ReceiptFor(unknown, DeliveryState::kDelivered),
                                     ReceiptFor(known, DeliveryState::kDelivered),
                                     ReceiptFor(known, DeliveryState::kDelivered)}),
              IsOkAndHolds(ElementsAre(false, true, true)));
}

TEST_F(InteractionStoreTest, SendsOnceMoreWhatDidNotReachAHandset) {
  const Sent sent = AddSent("sms", "SM1");
  DeliveryReceipt receipt = ReceiptFor(sent, DeliveryState::kUndelivered);
  receipt.provider_message_id = "SM1";
  receipt.code = "30003";
  receipt.error = "handset off";
  receipt.resend_after = kResendDelay;
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state || ' ' || resent || ' ' || (finished_at IS NULL) || ' ' || detail"),
            "held true true 30003: handset off: tried once more later");
  EXPECT_EQ(OfDelivery(sent, "attempts"), R"([{"code": "30003", "error": "handset off", "provider": "twilio-1"}])");
  EXPECT_EQ(Query(absl::StrCat("SELECT cause || ' ' || routing_key || ' ' || convert_from(payload, 'UTF8') || ' ' ||"
                               " (due_at BETWEEN now() + interval '9 minutes' AND now() + interval '10 minutes')"
                               " FROM schedules WHERE app_id = ",
                               app_.value())),
            "resend social.sms p true");
  EXPECT_EQ(Events(), "") << "nothing final has come of it";
  // The same receipt again hurries nothing.
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state"), "held");
  EXPECT_EQ(
      Query(absl::StrCat("SELECT due_at > now() + interval '9 minutes' FROM schedules WHERE app_id = ", app_.value())),
      "t");

  Query(
      absl::StrCat("UPDATE deliveries SET state = 'sent', finished_at = now(), provider_message_id = 'SM2' WHERE"
                   " delivery_id = '",
                   sent.delivery.ToString(), "'"));
  receipt.provider_message_id = "SM2";
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state || ' ' || (payload IS NULL)"), "undelivered true") << "once, not for ever";
  EXPECT_EQ(Events(), "undelivered.social.sms");
}

TEST_F(InteractionStoreTest, SendsNothingAgainWhoseMessageIsNotKept) {
  const Sent sent = AddSent("sms", "SM1");
  Query(absl::StrCat("UPDATE deliveries SET payload = NULL WHERE delivery_id = '", sent.delivery.ToString(), "'"));
  DeliveryReceipt receipt = ReceiptFor(sent, DeliveryState::kUndelivered);
  receipt.resend_after = kResendDelay;
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state"), "undelivered");
}

TEST_F(InteractionStoreTest, KeepsWhatComesBeforeItsCallIsRecorded) {
  const Sent sent = AddDelivery(Accept(), "pending", "sms");
  DeliveryReceipt receipt = ReceiptFor(sent, DeliveryState::kUndelivered);
  receipt.provider_message_id = "SM1";
  receipt.code = "30005";
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "early_receipts IS NULL"), "t") << "nobody works on it";
  Query(
      absl::StrCat("UPDATE deliveries SET claimed_until = now() WHERE delivery_id = '", sent.delivery.ToString(), "'"));
  EXPECT_EQ(Record(receipt), 1);
  EXPECT_EQ(OfDelivery(sent, "state || ' ' || early_receipts"),
            R"(pending {"SM1": {"code": "30005", "error": null, "resend_us": null}})");
}

TEST_F(InteractionStoreTest, EndsAsManyReceiptsAtOnceCountOnlyOnce) {
  const Sent sent = AddDelivery(Accept(), "pending", "sms");
  RunThreads(8, [&](int i) {
    EXPECT_EQ(Record(ReceiptFor(sent, i % 2 == 0 ? DeliveryState::kDelivered : DeliveryState::kUndelivered)), 1);
  });
  EXPECT_EQ(OfNotification(sent.notification, "state || ' ' || open_deliveries"), "delivered 0");
  EXPECT_EQ(Query(absl::StrCat("SELECT sum(count) FROM daily_stats WHERE app_id = ", app_.value())), "2");
}

TEST_F(InteractionStoreTest, SuppressesTheAddressOfTheRecipientOnce) {
  const Sent mail = AddSent("email");
  const Sent text = AddSent("sms");
  DeliveryReceipt bounced = ReceiptFor(mail, DeliveryState::kUndelivered);
  bounced.suppress_reason = "hard bounce";
  DeliveryReceipt again = bounced;
  again.state.reset();
  DeliveryReceipt opted_out = ReceiptFor(text, DeliveryState::kUndelivered);
  opted_out.suppress_reason = "opted out";
  ASSERT_OK(store_.RecordReceipts({bounced, again}));
  ASSERT_OK(store_.RecordReceipts({bounced, opted_out}));
  EXPECT_EQ(Suppressions(), "email:Ann@Example.org::hard bounce sms:+4915112345678::opted out");
}

TEST_F(InteractionStoreTest, SuppressesNoAddressThatMayBeAnotherOneThanTheMessageWentTo) {
  DeliveryReceipt bounced = ReceiptFor(AddSent("email"), DeliveryState::kUndelivered);
  bounced.suppress_reason = "hard bounce";
  Query(absl::StrCat("UPDATE recipients SET email = 'new@example.org', updated_at = clock_timestamp() WHERE app_id = ",
                     app_.value()));
  EXPECT_EQ(Record(bounced), 1);
  EXPECT_EQ(Suppressions(), "");
}

TEST_F(InteractionStoreTest, SuppressesForOneTypeIfTheReceiptMeansNoMore) {
  DeliveryReceipt unsubscribed = ReceiptFor(AddSent("email"), DeliveryState::kDelivered);
  unsubscribed.suppress_reason = "unsubscribed";
  unsubscribed.suppress_type_only = true;
  ASSERT_EQ(Record(unsubscribed), 1);
  EXPECT_EQ(Suppressions(), "email:Ann@Example.org:like:unsubscribed");
}

TEST_F(InteractionStoreTest, CountsEachInteractionOnceAndAClickAsAnOpeningToo) {
  const Sent sent = AddSent();
  const Interaction opened = InteractionWith(sent.notification, InteractionKind::kOpened);
  const Interaction clicked = InteractionWith(sent.notification, InteractionKind::kClicked);
  EXPECT_THAT(store_.RecordInteractions({clicked}), IsOkAndHolds(ElementsAre(InteractionOutcome::kRecorded)));
  EXPECT_THAT(store_.RecordInteractions({opened, clicked}),
              IsOkAndHolds(ElementsAre(InteractionOutcome::kRepeated, InteractionOutcome::kRepeated)));
  EXPECT_THAT(
      store_.RecordInteractions({InteractionWith(sent.notification, InteractionKind::kOpened, Channel::kInApp)}),
      IsOkAndHolds(ElementsAre(InteractionOutcome::kRecorded)));
  EXPECT_EQ(Counts(), "clicked 1, opened 2");
  EXPECT_EQ(Events(), "clicked.social.email opened.social.email opened.social.in_app");
}

TEST_F(InteractionStoreTest, CountsOnceHoweverManyRecordTheSame) {
  const Sent sent = AddSent();
  RunThreads(8, [&](int) {
    EXPECT_OK(store_.RecordInteractions({InteractionWith(sent.notification, InteractionKind::kClicked)}));
  });
  EXPECT_EQ(Counts(), "clicked 1, opened 1");
}

TEST_F(InteractionStoreTest, KnowsOnlyTheAppsOwnAndTheRecipientsNotifications) {
  const Sent sent = AddSent();
  Interaction interaction = InteractionWith(sent.notification, InteractionKind::kOpened);
  interaction.recipient = "bob";
  EXPECT_THAT(store_.RecordInteractions({interaction}), IsOkAndHolds(ElementsAre(InteractionOutcome::kNotFound)));
  interaction.recipient = "ann";
  interaction.app = NewApp();
  EXPECT_THAT(store_.RecordInteractions({interaction}), IsOkAndHolds(ElementsAre(InteractionOutcome::kNotFound)));
  interaction.app = app_;
  EXPECT_THAT(
      store_.RecordInteractions({InteractionWith(NewUuid7(absl::Now()), InteractionKind::kOpened), interaction}),
      IsOkAndHolds(ElementsAre(InteractionOutcome::kNotFound, InteractionOutcome::kRecorded)));
}

TEST_F(InteractionStoreTest, FindsWhatOnlyAFeedOrADeliveryKnows) {
  const NotificationId in_feed = NewUuid7(absl::Now());
  Query(absl::StrCat(
      "INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type,"
      " title) VALUES ('",
      in_feed.ToString(), "', ", app_.value(), ", 1, now(), 7, 'ann', 'payment.receipt', 't')"));
  const Sent of_event = AddDelivery(NewUuid7(absl::Now()), "sent");
  EXPECT_THAT(store_.RecordInteractions({InteractionWith(in_feed, InteractionKind::kOpened, Channel::kInApp),
                                         InteractionWith(of_event.notification, InteractionKind::kOpened)}),
              IsOkAndHolds(ElementsAre(InteractionOutcome::kRecorded, InteractionOutcome::kRecorded)));
  EXPECT_EQ(Events(), "opened.payment.in_app opened.social.email");
}

TEST_F(InteractionStoreTest, UnsubscribesAnAddressFromOneTypeOnce) {
  const Unsubscription asked = UnsubscriptionOf(AddSent(), "ann@example.org");
  EXPECT_OK(store_.Unsubscribe(asked));
  EXPECT_OK(store_.Unsubscribe(asked));
  EXPECT_EQ(Suppressions(), "email:Ann@Example.org:like:unsubscribed");
}

TEST_F(InteractionStoreTest, UnsubscribesWithoutTheDeliveryAndFromTheAddressItWentTo) {
  EXPECT_OK(store_.Unsubscribe(UnsubscriptionOf(AddSent(), "old@example.org")));
  EXPECT_OK(store_.Unsubscribe(UnsubscriptionOf({NewUuid7(absl::Now()), NewUuid7(absl::Now())}, "ann@example.org")));
  EXPECT_EQ(Query(absl::StrCat("SELECT string_agg(type || ' ' || coalesce(address, 'none'), ', ') FROM suppressions"
                               " WHERE channel = 'email' AND address_hash IN (sha256('old@example.org'),"
                               " sha256('ann@example.org')) AND app_id = ",
                               app_.value())),
            "like none, like none");
}

}  // namespace
}  // namespace carillon::testing
