// Deliveries that wait for a time: how they begin to, come back, and go on once somebody
// has decided on them again.
#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/escaping.h"
#include "carillon/wire/envelope.h"
#include "tests/contract/postgres/waiting_fixture.h"

namespace carillon::testing {
namespace {

class DecideAgainTest : public WaitingTest {
 protected:
  Redecision Decided(const Delivery& delivery, DeliveryFate fate) {
    return {.delivery = &delivery,
            .lane = Lane::kSocial,
            .fate = std::move(fate),
            .exchange = "carillon.direct",
            .routing_key = "social.like"};
  }
  int DecideAgain(const Delivery& delivery, DeliveryFate fate) {
    const absl::StatusOr<int> decided = store_.DecideAgain({Decided(delivery, std::move(fate))});
    EXPECT_OK(decided);
    return decided.value_or(-1);
  }
  static DeliveryFate Ended(DeliveryState state, Outcome outcome, const std::string& detail) {
    return {.state = state, .detail = detail, .hold_until = {}, .again = {}, .digest = {}, .trail = TrailOf(outcome)};
  }
  static std::string Outcomes(const Delivery& delivery) {
    return InDeliveries("(SELECT string_agg(e ->> 'outcome', ' ') FROM jsonb_array_elements(trail) AS e)", delivery);
  }
};

TEST_F(DecideAgainTest, AHeldOneWaitsByARowThatLeadsToTheQueueOfItsType) {
  const absl::Time until = InAnHour();
  const Delivery delivery = BeginHeld(until);
  EXPECT_EQ(CountRows("outbox"), "0");
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
  EXPECT_EQ(Kept(delivery).hold_until, until);
  EXPECT_EQ(StateOf(delivery.item.id), "accepted 1 - - open");
  EXPECT_EQ(InSchedules("concat_ws(' ', app_id, notification_id, retention_days, lane, cause, channel, recipient_id, "
                        "exchange, routing_key, type)",
                        delivery.id),
            absl::StrCat(app_.value(), " ", delivery.item.id.ToString(),
                         " 7 social hold email ann carillon.direct social.like like"));
  EXPECT_EQ(Outcomes(delivery), "hold");
  EXPECT_EQ(Stats(), "");
}

TEST_F(DecideAgainTest, ARowThatNobodyCarriesOutComesAgain) {
  const Delivery delivery = BeginHeld(InAnHour());
  EXPECT_EQ(ReleaseDue(), 0);
  const std::string message = InSchedules("encode(payload, 'hex')", delivery.id);
  for (int round = 0; round < 2; ++round) {
    MakeDue();
    EXPECT_EQ(ReleaseDue(), 1);
    EXPECT_EQ(ReleaseDue(), 0) << "it is put off";
    EXPECT_EQ(
        InSchedules("due_at BETWEEN now() + interval '10 minutes' AND now() + interval '15 minutes'", delivery.id),
        "t");
    EXPECT_EQ(Query("SELECT concat_ws(' ', message_id, exchange, routing_key, encode(payload, 'hex')) FROM outbox"),
              absl::StrCat(delivery.id.ToString(), " carillon.direct social.like ", message));
    EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
    EmptyOutbox();
  }
}

TEST_F(DecideAgainTest, OneThatIsSentGoesToItsChannelWithTheMessageThatItBeganWith) {
  const Delivery delivery = BeginHeld(InAnHour());
  const std::string payload = InDeliveries("encode(payload, 'hex')", delivery);
  EXPECT_EQ(DecideAgain(delivery, {}), 1);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kPending);
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(
      Query("SELECT concat_ws(' ', message_id, lane, exchange, routing_key, type, encode(payload, 'hex')) FROM outbox"),
      absl::StrCat(delivery.id.ToString(), " social carillon.delivery social.email like ", payload));
  EXPECT_EQ(StateOf(delivery.item.id), "accepted 1 - - open");
  EXPECT_TRUE(Claim(delivery).claimed);
}

TEST_F(DecideAgainTest, TheMessageTellsUntilWhenItWaited) {
  Delivery delivery = BeginHeld(InAnHour());
  delivery.decide_time = InAnHour();
  EXPECT_EQ(DecideAgain(delivery, {}), 1);
  EXPECT_EQ(Query("SELECT encode(payload, 'hex') FROM outbox"), absl::BytesToHexString(EncodeEnvelope(delivery)));
  EXPECT_NE(Query("SELECT encode(payload, 'hex') FROM outbox"), InDeliveries("encode(payload, 'hex')", delivery));
}

TEST_F(DecideAgainTest, OneThatIsHeldFurtherWaitsByANewRow) {
  const Delivery delivery = BeginHeld(absl::Now());
  EXPECT_EQ(ReleaseDue(), 1);
  EmptyOutbox();
  const absl::Time until = InAnHour();
  EXPECT_EQ(DecideAgain(delivery, HeldUntil(delivery, until)), 1);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
  EXPECT_EQ(Kept(delivery).hold_until, until);
  EXPECT_EQ(CountRows("schedules"), "1");
  EXPECT_EQ(CountRows("outbox"), "0");
  EXPECT_EQ(Outcomes(delivery), "hold hold");
  MakeDue();
  EXPECT_EQ(ReleaseDue(), 1);
  EXPECT_EQ(DecideAgain(delivery, {}), 1);
}

TEST_F(DecideAgainTest, OneThatIsSuppressedOrExpiredEndsWithItsNotification) {
  const Delivery muted = BeginHeld(InAnHour()), late = BeginHeld(InAnHour());
  EXPECT_THAT(
      store_.DecideAgain({Decided(muted, Ended(DeliveryState::kSuppressed, Outcome::kSuppress, "actor is muted")),
                          Decided(late, Ended(DeliveryState::kExpired, Outcome::kExpire, "too late"))}),
      IsOkAndHolds(2));
  EXPECT_EQ(Kept(muted).state, DeliveryState::kSuppressed);
  EXPECT_EQ(Kept(muted).detail, "actor is muted");
  EXPECT_EQ(Outcomes(muted), "hold suppress");
  EXPECT_EQ(InDeliveries("payload IS NULL", muted), "t");
  EXPECT_EQ(StateOf(muted.item.id), "suppressed 0 suppressed actor is muted ended");
  EXPECT_EQ(StateOf(late.item.id), "expired 0 expired too late ended");
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(Stats(), "email expired 1, email suppressed 1");
  EXPECT_EQ(Events(), "expired.social.email suppressed.social.email");
}

TEST_F(DecideAgainTest, OneThatIsWantedInADigestEntersIt) {
  const Delivery first = BeginInDigest(), delivery = BeginHeld(InAnHour());
  EXPECT_EQ(DecideAgain(delivery, InDigest(delivery, InAnHour())), 1);
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kHeld);
  EXPECT_EQ(Query("SELECT count(*) FROM digest_entries WHERE digest_id = '" + OpenDigest().id.ToString() + "'"), "2");
  EXPECT_EQ(InSchedules("count(*)", delivery.id), "0");
  EXPECT_EQ(Outcomes(delivery), "hold digest");
  EXPECT_EQ(StateOf(delivery.item.id), "accepted 1 - - open");
}

TEST_F(DecideAgainTest, ARepeatChangesNothing) {
  const Delivery delivery = BeginHeld(InAnHour());
  EXPECT_EQ(DecideAgain(delivery, {}), 1);
  EXPECT_EQ(DecideAgain(delivery, {}), 0);
  EXPECT_EQ(DecideAgain(delivery, HeldUntil(delivery, InAnHour())), 0);
  EXPECT_EQ(DecideAgain(delivery, Ended(DeliveryState::kSuppressed, Outcome::kSuppress, "too late")), 0);
  EXPECT_EQ(DecideAgain(delivery, InDigest(delivery, InAnHour())), 0);
  EXPECT_EQ(CountRows("outbox"), "1");
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(CountRows("digests"), "0");
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kPending);
}

TEST_F(DecideAgainTest, OneThatWasCancelledMeanwhileIsPassedOver) {
  const Delivery cancelled = BeginHeld(InAnHour()), other = BeginHeld(InAnHour());
  const std::string id = "'" + cancelled.id.ToString() + "'";
  Query("DELETE FROM schedules WHERE message_id = " + id +
        "; UPDATE deliveries SET state = 'suppressed', finished_at = now() WHERE delivery_id = " + id);
  EXPECT_THAT(store_.DecideAgain({Decided(cancelled, {}), Decided(other, {})}), IsOkAndHolds(1));
  EXPECT_EQ(Kept(cancelled).state, DeliveryState::kSuppressed);
  EXPECT_EQ(Query("SELECT string_agg(message_id::text, ' ') FROM outbox"), other.id.ToString());
}

TEST_F(DecideAgainTest, WhatIsLeftToTheFeedGoesThereWithItAndOnlyThen) {
  const Delivery delivery = BeginHeld(InAnHour()), cancelled = BeginHeld(InAnHour());
  Query("DELETE FROM schedules WHERE message_id = '" + cancelled.id.ToString() + "'");
  const auto addition = [](const Delivery& of) {
    FeedAddition made{.key = {of.item.app, of.item.recipient}, .item = {}};
    made.item.id = of.item.id;
    made.item.type = "like";
    made.item.title = "Left to the feed";
    made.item.create_time = of.item.create_time;
    return made;
  };
  std::vector<FeedAddition> shown = {addition(delivery), addition(cancelled)};
  const DeliveryFate ended = Ended(DeliveryState::kSuppressed, Outcome::kInAppOnly, "1 of 1 in 1h: in_app_only");
  std::vector<Redecision> decisions = {Decided(delivery, ended), Decided(cancelled, ended)};
  for (size_t i = 0; i < 2; ++i) decisions[i].shown = &shown[i];
  EXPECT_THAT(store_.DecideAgain(decisions), IsOkAndHolds(1));
  EXPECT_EQ(shown[0].item.seq, 1);
  EXPECT_EQ(shown[1].item.seq, 0);
  EXPECT_THAT(store_.DecideAgain(decisions), IsOkAndHolds(0));
  EXPECT_EQ(shown[0].item.seq, 0);
  EXPECT_EQ(Query("SELECT string_agg(notification_id || ' ' || seq, ',') FROM feed_items"),
            delivery.item.id.ToString() + " 1");
}

TEST_F(DecideAgainTest, GoesOnThoughItsOwnMessageIsThereAgain) {
  const Delivery delivery = BeginHeld(InAnHour());
  MakeDue();
  EXPECT_EQ(ReleaseDue(), 1);
  EXPECT_EQ(DecideAgain(delivery, {}), 1);
  EXPECT_EQ(Query("SELECT string_agg(exchange || ' ' || routing_key, ',') FROM outbox"),
            "carillon.delivery social.email");
}

TEST_F(DecideAgainTest, ManyAtOnceDecideOnce) {
  const Delivery delivery = BeginHeld(InAnHour());
  std::atomic<int> decided = 0;
  RunThreads(4, [&](int) { decided += DecideAgain(delivery, {}); });
  EXPECT_EQ(decided, 1);
  EXPECT_EQ(CountRows("outbox"), "1");
}

}  // namespace
}  // namespace carillon::testing
