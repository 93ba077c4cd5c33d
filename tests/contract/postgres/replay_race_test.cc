// What is put back while others replay, record or hear of the same.
#include <thread>

#include "absl/time/clock.h"
#include "carillon/postgres/interaction_store.h"
#include "tests/contract/postgres/replay_fixture.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class ReplayRaceTest : public ReplayStoreTest {
 protected:
  DeliveryReceipt Arrived(const Delivery& delivery) const {
    return {.app = app_,
            .notification = delivery.item.id,
            .delivery = delivery.id,
            .provider_message_id = "SM-1",
            .state = DeliveryState::kDelivered,
            .time = absl::Now()};
  }
  static std::string Lock(const Delivery& delivery) {
    return absl::StrCat("SELECT FROM deliveries WHERE delivery_id = '", delivery.id.ToString(), "' FOR UPDATE NOWAIT");
  }
  // Its replay is so long ago that nothing is told by that.
  static void LetTimePass() {
    EmptyOutbox();
    Query("UPDATE dead_letters SET replayed_at = now() - interval '2 minutes' WHERE state = 'replayed'");
  }

  PostgresInteractionStore receipts_{MakePool(1)};
};

TEST_F(ReplayRaceTest, RunsThatLeaveTheSameLettersBothEnd) {
  DiedMany(4);
  Query(absl::StrCat("UPDATE dead_letters SET replay_count = 5 WHERE app_id = ", app_.value()));
  DeadLetter lost = LetterOfItem(Accepted());
  lost.queue = "gone";
  ASSERT_OK(letters_.Record({lost}));
  ReplayRun first = BeginRun(), second = BeginRun();
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(store_.Step(first, 2));
    ASSERT_OK(store_.Step(second, 2));
  }
  for (ReplayRun* run : {&first, &second}) {
    EXPECT_THAT(store_.HasMore(*run), IsOkAndHolds(false));
    // At a second look, too, each counts once.
    run->looks_again = true;
    run->position = 0;
    *run = ReplayAll(*run);
    EXPECT_EQ(run->replay.counts.poison, 4);
    EXPECT_EQ(run->replay.counts.unroutable, 1);
  }
  // Whoever goes on with it does not look at them anew.
  Abandon(first);
  ASSERT_OK_AND_ASSIGN(const ReplayRun resumed, store_.Resume(first.replay.id, ""));
  EXPECT_EQ(ReplayAll(resumed).replay.counts.looked_at(), 5);
}

TEST_F(ReplayRaceTest, ADeathThatTheBrokerTellsAgainEndsNothingThatWasPutBackSince) {
  const Delivery delivery = BeginOne(Channel::kSms);
  DeadLetter letter = DiedDelivery(delivery);
  ReplayAll();
  LetTimePass();
  letter.redelivered = true;
  ASSERT_OK(letters_.Record({letter}));
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kPending);
  EXPECT_EQ(LetterStates(), "replayed");
  // One that says by its count that it is another death is one.
  letter.replay_count = 1;
  ASSERT_OK(letters_.Record({letter}));
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kDead);
  EXPECT_EQ(LetterStates(), "dead replayed");
}

TEST_F(ReplayRaceTest, WhatArrivedAfterItWasGivenUpIsNotSentAgain) {
  const Delivery delivery = BeginOne(Channel::kSms);
  DiedDelivery(delivery);
  EXPECT_EQ(Stats(), "sms dead 1");
  EmptyOutbox();
  for (int i = 0; i < 2; ++i) ASSERT_OK(receipts_.RecordReceipts({Arrived(delivery)}));
  EXPECT_EQ(Kept(delivery).state, DeliveryState::kDelivered);
  EXPECT_EQ(Kept(delivery).provider_message_id, "SM-1");
  EXPECT_EQ(StateOf(delivery.item.id), "delivered 0 delivered - ended");
  EXPECT_EQ(Stats(), "sms dead 0, sms delivered 1, sms sent 1");
  EXPECT_EQ(Events(), "delivered.social.sms sent.social.sms");
  EmptyOutbox();
  EXPECT_EQ(ReplayAll().replay.counts.ended, 1);
  EXPECT_EQ(Queued(), "");
}

TEST_F(ReplayRaceTest, AReceiptOfWhatWasGivenUpLeavesTheOthersOpen) {
  const Begun begun = Begin({Channel::kSms, Channel::kEmail, Channel::kWebhook});
  DiedDelivery(begun.deliveries[0]);
  ASSERT_OK(receipts_.RecordReceipts({Arrived(begun.deliveries[0])}));
  EXPECT_EQ(StateOf(begun.id), "accepted 2 delivered - open");
  // Of one that is open and one that was given up at once.
  DiedDelivery(begun.deliveries[1]);
  ASSERT_OK(receipts_.RecordReceipts({Arrived(begun.deliveries[1]), Arrived(begun.deliveries[2])}));
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
}

TEST_F(ReplayRaceTest, LocksDeliveriesInTheOrderOfTheirIds) {
  const Delivery older = BeginOne(), newer = BeginOne();
  DiedDelivery(newer);
  DiedDelivery(older);
  ReplayRun run = BeginRun();
  std::thread replay;
  EXPECT_OK(MakePool(1)->RunTransaction([&](PgSession&, pqxx::work& receipts) {
    receipts.exec(Lock(older));
    replay = std::thread([&] { EXPECT_OK(store_.Step(run, 10)); });
    EXPECT_TRUE(WaitFor([] {
      return Query(
                 "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = "
                 "'Lock'") != "0";
    }));
    receipts.exec(Lock(newer));
    return absl::OkStatus();
  }));
  if (replay.joinable()) replay.join();
  EXPECT_EQ(run.replay.counts.replayed, 2);
}

TEST_F(ReplayRaceTest, CallsFromBeforeItWasPutBackAreToldApart) {
  const Delivery delivery = BeginOne(Channel::kSms);
  const auto call = [&](const ClaimResult& claim) {
    DeliveryUpdate update = UpdateOf(delivery, claim.claim, DeliveryState::kPending);
    update.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kUnconfirmed)};
    Record(update);
  };
  call(Claim(delivery));
  DiedDelivery(delivery);
  ReplayAll();
  const ClaimResult again = Claim(delivery);
  ASSERT_THAT(again.attempts, SizeIs(1));
  EXPECT_TRUE(again.attempts[0].before_replay);
  call(again);
  const std::vector<DeliveryAttempt> attempts = Claim(delivery).attempts;
  ASSERT_THAT(attempts, SizeIs(2));
  EXPECT_TRUE(attempts[0].before_replay);
  EXPECT_FALSE(attempts[1].before_replay);
}

TEST_F(ReplayRaceTest, APageOfNoShardIsNoneOfOurs) {
  const FanoutPage page{.app = app_, .event_id = NewUuid7(absl::Now()), .type = "like", .shard = 40'000, .cursor = ""};
  for (const auto& [queue, lane] : {std::pair("fanout.social", "fanout"), std::pair("social", "social")}) {
    ASSERT_OK(letters_.Record({DeadLetter{.app = app_,
                                          .queue = queue,
                                          .lane = lane,
                                          .message_id = "by hand",
                                          .reason = "strange",
                                          .payload = EncodeEnvelope(page)}}));
  }
  EXPECT_EQ(ReplayAll().replay.counts.replayed, 2);
  EXPECT_EQ(Queued(), "fanout <> fanout.social 1, social <> social 1");
}

// The relay makes letters so that the store refuses otherwise.
TEST_F(ReplayRaceTest, KeepsWhatItIsToldNotToLookInto) {
  const FanoutPage page{
      .app = app_, .event_id = NewUuid7(absl::Now()), .type = "like", .shard = 1, .cursor = std::string("\0", 1)};
  DeadLetter letter{
      .app = app_, .queue = "fanout", .lane = "fanout", .reason = "strange", .payload = EncodeEnvelope(page)};
  EXPECT_FALSE(letters_.Record({letter}).ok());
  letter.is_opaque = true;
  EXPECT_OK(letters_.Record({letter}));
  EXPECT_EQ(Letters(), "dead");
}

TEST_F(ReplayRaceTest, APurgeGoesOnFromWhereItWas) {
  DiedMany(5);
  ReplayOrder order = Order();
  order.kind = ReplayKind::kPurge;
  ReplayRun run = BeginRun(order);
  const std::string second = Query(absl::StrCat("SELECT dead_letter_id FROM dead_letters WHERE app_id = ", app_.value(),
                                                " ORDER BY 1 OFFSET 1 LIMIT 1"));
  EXPECT_THAT(store_.PurgeStep(run, 2), IsOkAndHolds(2));
  EXPECT_EQ(absl::StrCat(run.position), second);
  EXPECT_EQ(Query("SELECT position FROM replays WHERE replay_id = '" + run.replay.id.ToString() + "'"), second);
  EXPECT_THAT(store_.PurgeStep(run, 10), IsOkAndHolds(3));
  EXPECT_THAT(store_.PurgeStep(run, 10), IsOkAndHolds(0));
  EXPECT_EQ(run.replay.counts.replayed, 5);
}

TEST_F(ReplayRaceTest, WhatDiedLongAgoIsKnownFor30DaysAfterItWasPutBack) {
  DiedMany(1);
  Query("DELETE FROM dead_letters WHERE state <> 'dead'");
  Query(absl::StrCat("UPDATE dead_letters SET dead_at = now() - interval '40 days' WHERE app_id = ", app_.value()));
  ReplayAll();
  EXPECT_THAT(letters_.Forget(absl::Now() - absl::Hours(24) * 30, 10), IsOkAndHolds(0));
  Query("UPDATE dead_letters SET replayed_at = now() - interval '31 days' WHERE state = 'replayed'");
  EXPECT_THAT(letters_.Forget(absl::Now() - absl::Hours(24) * 30, 10), IsOkAndHolds(1));
}

}  // namespace
}  // namespace carillon::testing
