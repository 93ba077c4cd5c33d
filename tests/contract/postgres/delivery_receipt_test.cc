// What records of calls and receipts of the same calls make of each other, whichever
// comes first.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/dead_letter_store.h"
#include "carillon/postgres/interaction_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class RecordsAndReceipts : public DeliveryTest {
 protected:
  // Of the first of them, as the provider names it.
  DeliveryReceipt ReceiptOf(const Begun& begun, DeliveryState state, const std::string& message_id) const {
    return {.app = app_,
            .notification = begun.id,
            .delivery = begun.deliveries.front().id,
            .provider_message_id = message_id,
            .state = state,
            .time = absl::Now()};
  }

  // That it is claimed, and a provider takes it under this id.
  DeliveryUpdate AcceptedAs(const Delivery& delivery, const std::string& message_id) {
    DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kSent);
    update.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kAccepted, message_id)};
    return update;
  }

  PostgresInteractionStore receipts_{MakePool(4)};
};

TEST_F(RecordsAndReceipts, AddTheirCallsToWhatAReceiptEndedMeanwhile) {
  const Begun begun = Begin({Channel::kSms});
  const Delivery& delivery = begun.deliveries[0];
  const int claim = Claim(delivery).claim;
  EXPECT_THAT(receipts_.RecordReceipts({ReceiptOf(begun, DeliveryState::kDelivered, "SM-1")}),
              IsOkAndHolds(ElementsAre(true)));
  const std::string stats = Stats();
  DeliveryUpdate late = UpdateOf(delivery, claim, DeliveryState::kHeld);
  late.hold_until = absl::Now() + absl::Minutes(1);
  late.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kUnconfirmed)};
  for (int i = 0; i < 2; ++i) Record(late);
  const DeliveryRecord kept = Kept(delivery);
  EXPECT_EQ(kept.state, DeliveryState::kDelivered);
  EXPECT_EQ(kept.provider_message_id, "SM-1");
  EXPECT_THAT(kept.attempts, SizeIs(1));
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(Stats(), stats) << "its end was counted before";
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
}

TEST_F(RecordsAndReceipts, BelieveAReceiptThatCameBeforeThem) {
  for (const char* told : {"SM-1", "SM-of-another-call"}) {
    const Begun begun = Begin({Channel::kSms});
    const Delivery& delivery = begun.deliveries[0];
    DeliveryUpdate sent = AcceptedAs(delivery, "SM-1");
    sent.may_resend = true;
    DeliveryReceipt failed = ReceiptOf(begun, DeliveryState::kUndelivered, told);
    failed.code = "30005";
    EXPECT_THAT(receipts_.RecordReceipts({failed}), IsOkAndHolds(ElementsAre(true)));
    EXPECT_EQ(Kept(delivery).state, DeliveryState::kPending);
    Record(sent);
    const bool is_same = told == sent.attempts[0].provider_message_id;
    EXPECT_EQ(Kept(delivery).state, is_same ? DeliveryState::kUndelivered : DeliveryState::kSent);
    EXPECT_EQ(Kept(delivery).detail, is_same ? "30005" : "");
    EXPECT_EQ(InDeliveries("payload IS NULL", delivery), is_same ? "t" : "f");
    EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended") << "a provider had it";
    EXPECT_EQ(Events("concat_ws(':', event ->> 'event', event ->> 'code')"),
              is_same ? "sent:500 undelivered:30005" : "sent:500");
  }
  EXPECT_EQ(Stats(), "sms sent 2, sms undelivered 1");
}

TEST_F(RecordsAndReceipts, SendOnceMoreWhatAReceiptSaidTooEarly) {
  const Begun begun = Begin({Channel::kSms});
  const Delivery& delivery = begun.deliveries[0];
  DeliveryUpdate sent = AcceptedAs(delivery, "SM-1");
  sent.may_resend = true;
  DeliveryReceipt off = ReceiptOf(begun, DeliveryState::kUndelivered, "SM-1");
  off.code = "30003";
  off.resend_after = absl::Minutes(10);
  ASSERT_OK(receipts_.RecordReceipts({off, ReceiptOf(begun, DeliveryState::kUndelivered, "SM-0")}));
  for (int i = 0; i < 2; ++i) Record(sent);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
  EXPECT_EQ(Kept(delivery).detail, "30003");
  EXPECT_EQ(Query("SELECT cause || ' ' || (due_at > now() + interval '9 minutes') FROM schedules"), "resend true");
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
  EXPECT_EQ(Stats(), "sms sent 1");
}

TEST_F(RecordsAndReceipts, WaitForNoReceiptThatHasCome) {
  for (const std::string told : {"", "SM-1"}) {
    const Begun begun = Begin({Channel::kSms});
    const Delivery& delivery = begun.deliveries[0];
    DeliveryUpdate waits = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kHeld);
    waits.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kUnconfirmed)};
    waits.hold_until = absl::Now() + absl::Minutes(1);
    waits.cause = HoldCause::kReceipt;
    if (!told.empty()) {
      ASSERT_OK(receipts_.RecordReceipts({ReceiptOf(begun, DeliveryState::kUndelivered, told)}));
    }
    Record(waits);
    EXPECT_EQ(
        Query(absl::StrCat("SELECT due_at <= now() FROM schedules WHERE message_id = '", delivery.id.ToString(), "'")),
        told.empty() ? "f" : "t");
  }
}

TEST_F(RecordsAndReceipts, CountASecondTryNotAgain) {
  const auto resend = [&](const Begun& begun) {
    DeliveryUpdate sent = AcceptedAs(begun.deliveries[0], "SM-1");
    sent.may_resend = true;
    Record(sent);
    DeliveryReceipt off = ReceiptOf(begun, DeliveryState::kUndelivered, "SM-1");
    off.resend_after = absl::ZeroDuration();
    ASSERT_OK(receipts_.RecordReceipts({off}));
    EXPECT_EQ(StateOf(begun.id), "accepted 1 delivered - open");
  };
  PostgresOutboxReader reader(Options(), Lane::kSocial);
  PostgresDeadLetterStore letters(MakePool(1));
  // Sent again; said to have arrived meanwhile; given up.
  for (const std::string how : {"sent", "arrived", "dead"}) {
    const Begun begun = Begin({Channel::kSms, Channel::kEmail});
    const Delivery& delivery = begun.deliveries[0];
    resend(begun);
    if (how == "arrived") {
      ASSERT_OK(receipts_.RecordReceipts({ReceiptOf(begun, DeliveryState::kDelivered, "SM-1")}));
    } else {
      EXPECT_THAT(reader.ReleaseDue(10), IsOkAndHolds(1));
    }
    if (how == "sent") End(delivery, DeliveryState::kSent);
    if (how == "dead") {
      const DeadLetter letter = LetterOf(delivery);
      for (int i = 0; i < 2; ++i) ASSERT_OK(letters.Record({letter}));
      EXPECT_EQ(LetterStates(delivery), "dead");
    }
    EXPECT_EQ(StateOf(begun.id), "accepted 1 delivered - open") << how << ": the mail is still open";
    EXPECT_EQ(Kept(delivery).state, how == "sent"      ? DeliveryState::kSent
                                    : how == "arrived" ? DeliveryState::kDelivered
                                                       : DeliveryState::kUndelivered)
        << how;
    End(begun.deliveries[1], DeliveryState::kSuppressed);
    EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended") << how;
  }
  EXPECT_EQ(Stats(), "email suppressed 3, sms delivered 1, sms sent 3, sms undelivered 1") << "each is sent once";
}

TEST_F(RecordsAndReceipts, KnowWhoDeliveredIt) {
  // The next one is being asked when a receipt comes, of the first or of its own.
  for (const std::string id : {"SM-1", "V-1"}) {
    const Begun begun = Begin({Channel::kSms});
    const Delivery& delivery = begun.deliveries[0];
    DeliveryUpdate waits = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
    waits.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kUnconfirmed)};
    Record(waits);
    DeliveryUpdate late = AcceptedAs(delivery, "V-1");
    late.attempts[0].provider = "vonage-1";
    ASSERT_OK(receipts_.RecordReceipts({ReceiptOf(begun, DeliveryState::kDelivered, id)}));
    Record(late);
    EXPECT_EQ(Kept(delivery).provider, id == "V-1" ? "vonage-1" : "twilio-1");
    EXPECT_EQ(Kept(delivery).provider_message_id, id);
    EXPECT_THAT(Kept(delivery).attempts, SizeIs(2));
  }
}

TEST_F(RecordsAndReceipts, ForgetWhatNoReceiptBringsBackAnyMore) {
  Query("UPDATE deliveries SET payload = NULL");  // Of other tests.
  const Begun begun = Begin({Channel::kSms, Channel::kSms});
  for (const Delivery& delivery : begun.deliveries) {
    DeliveryUpdate sent = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kSent);
    sent.may_resend = true;
    Record(sent);
  }
  const absl::Time now = absl::Now();
  EXPECT_THAT(store_.ForgetKept(now - absl::Hours(1), 10), IsOkAndHolds(0));
  EXPECT_THAT(store_.ForgetKept(now + absl::Hours(1), 1), IsOkAndHolds(1));
  EXPECT_THAT(store_.ForgetKept(now + absl::Hours(1), 10), IsOkAndHolds(1));
  for (const Delivery& delivery : begun.deliveries) EXPECT_EQ(InDeliveries("payload IS NULL", delivery), "t");
}

TEST_F(RecordsAndReceipts, KeepAMessageThatAReceiptMayBringBackOnce) {
  const Begun begun = Begin({Channel::kSms});
  const Delivery& delivery = begun.deliveries[0];
  DeliveryUpdate sent = AcceptedAs(delivery, "SM-1");
  sent.may_resend = true;
  Record(sent);
  EXPECT_EQ(InDeliveries("payload IS NOT NULL", delivery), "t");
  DeliveryReceipt off = ReceiptOf(begun, DeliveryState::kUndelivered, "SM-1");
  off.resend_after = absl::ZeroDuration();
  EXPECT_THAT(receipts_.RecordReceipts({off}), IsOkAndHolds(ElementsAre(true)));
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended") << "what is final stays";
  PostgresOutboxReader reader(Options(), Lane::kSocial);
  EXPECT_THAT(reader.ReleaseDue(10), IsOkAndHolds(1));
  const ClaimResult claim = Claim(delivery);
  EXPECT_TRUE(claim.claimed);
  EXPECT_FALSE(claim.interrupted);
  EXPECT_THAT(claim.attempts, SizeIs(1));
  sent.claim = claim.claim;
  sent.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kAccepted, "SM-2")};
  Record(sent);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kSent);
  EXPECT_THAT(Kept(delivery).attempts, SizeIs(2));
  EXPECT_EQ(InDeliveries("payload IS NULL", delivery), "t");
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
}

TEST_F(RecordsAndReceipts, AgreeWhicheverIsQuicker) {
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    const bool arrived = round % 2 == 0;
    const Begun begun = Begin({Channel::kSms});
    const Delivery& delivery = begun.deliveries[0];
    DeliveryUpdate sent = AcceptedAs(delivery, "SM-1");
    RunThreads(2, [&](int i) {
      if (i == 0) return Record(sent);
      ASSERT_OK(receipts_.RecordReceipts(
          {ReceiptOf(begun, arrived ? DeliveryState::kDelivered : DeliveryState::kUndelivered, "SM-1")}));
    });
    EXPECT_EQ(Kept(delivery).state, arrived ? DeliveryState::kDelivered : DeliveryState::kUndelivered);
    EXPECT_THAT(Kept(delivery).attempts, SizeIs(1));
    EXPECT_EQ(Kept(delivery).provider_message_id, "SM-1");
    EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
  }
  EXPECT_EQ(Stats(), "sms delivered 10, sms sent 20, sms undelivered 10");
}

}  // namespace
}  // namespace carillon::testing
