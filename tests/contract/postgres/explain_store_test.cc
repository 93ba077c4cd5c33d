#include "carillon/postgres/explain_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/dead_letter_store.h"
#include "carillon/postgres/notification_store.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

const absl::Time kDecided = absl::FromUnixMicros(1'795'645'800'123'456);
const absl::Time kUntil = absl::FromUnixMicros(2'000'000'000'000'000);

TrailEntry HeldByACap(Channel channel) {
  const Rule cap{
      .gate = Rule::Gate::kCap, .level = "hold", .until = kUntil, .count = 2, .limit = 2, .window = absl::Minutes(1)};
  return {.time = kDecided,
          .decision = {.channel = channel, .outcome = Outcome::kHold, .until = kUntil, .rules = {cap}}};
}

class ExplainStoreTest : public DeliveryTest {
 protected:
  NotificationFacts Facts(const NotificationId& id) {
    const auto facts = explain_.Read({app_, RecipientId("ann")}, id);
    EXPECT_OK(facts);
    return facts.value_or(NotificationFacts());
  }
  // One on e-mail, with this fate.
  FeedDelivery DecisionWith(const NewNotification& item, DeliveryFate fate) {
    FeedDelivery decision = DecisionFor(item, {Channel::kEmail});
    decision.exchange = "carillon.direct";
    decision.routing_key = "social.like";
    decision.deliveries[0].fate = std::move(fate);
    return decision;
  }

  PostgresExplainStore explain_{MakePool(1)};
};

TEST_F(ExplainStoreTest, KnowsNothingOfWhatIsNotThere) {
  const NotificationFacts facts = Facts(NewUuid7(absl::Now()));
  EXPECT_FALSE(facts.came_by_door);
  EXPECT_EQ(facts.seq, 0);
  EXPECT_THAT(facts.trail, IsEmpty());
  EXPECT_THAT(facts.deliveries, IsEmpty());
  EXPECT_THAT(facts.dead_letters, IsEmpty());
}

TEST_F(ExplainStoreTest, ReadsTheTrailTheItemAndTheZoneOfOneThatIsInTheFeed) {
  Query(absl::StrCat("UPDATE recipients SET time_zone = 'Asia/Kolkata' WHERE app_id = ", app_.value()));
  const NewNotification item = Accepted();
  FeedDelivery decision = DecisionFor(item, {}, /*to_feed=*/true);
  decision.trail = HeldByACap(Channel::kInApp);
  Decide(decision);
  const NotificationFacts facts = Facts(item.notification.id);
  EXPECT_TRUE(facts.came_by_door);
  EXPECT_EQ(facts.seq, 1);
  EXPECT_EQ(facts.time_zone, "Asia/Kolkata");
  ASSERT_THAT(facts.trail, SizeIs(1));
  EXPECT_EQ(facts.trail[0].time, kDecided);
  EXPECT_EQ(facts.trail[0].decision, HeldByACap(Channel::kInApp).decision);
}

TEST_F(ExplainStoreTest, ReadsWhatADeliveryMetAndWhatItWaitsFor) {
  const NewNotification item = Accepted();
  const FeedDelivery decision = DecisionWith(item, {.state = DeliveryState::kHeld,
                                                    .detail = "2 of 2",
                                                    .hold_until = kUntil,
                                                    .again = "x",
                                                    .digest = {},
                                                    .trail = HeldByACap(Channel::kEmail)});
  Decide(decision);
  const NotificationFacts facts = Facts(item.notification.id);
  ASSERT_THAT(facts.deliveries, SizeIs(1));
  const DeliveryFacts& delivery = facts.deliveries.at(decision.deliveries[0].id);
  EXPECT_EQ(delivery.wait_cause, "hold");
  EXPECT_FALSE(delivery.digest.has_value());
  ASSERT_THAT(delivery.trail, SizeIs(1));
  EXPECT_EQ(delivery.trail[0].decision, HeldByACap(Channel::kEmail).decision);
}

TEST_F(ExplainStoreTest, KnowsTheDigestThatADeliveryWaitsFor) {
  const NewNotification item = Accepted();
  const Uuid digest = NewUuid7(absl::Now());
  DeliveryFate fate{.state = DeliveryState::kHeld, .detail = "digest"};
  fate.digest = NewDigest{.id = digest, .due_time = kUntil, .envelope = "x"};
  const FeedDelivery decision = DecisionWith(item, fate);
  Decide(decision);
  const DeliveryFacts delivery = Facts(item.notification.id).deliveries[decision.deliveries[0].id];
  ASSERT_TRUE(delivery.digest.has_value());
  EXPECT_EQ(delivery.digest->id, digest);
  EXPECT_EQ(delivery.digest->due_time, kUntil);
}

TEST_F(ExplainStoreTest, ListsItsDeadLettersOldestFirst) {
  const Begun begun = Begin({Channel::kEmail});
  PostgresDeadLetterStore letters(MakePool(1));
  DeadLetter letter = LetterOf(begun.deliveries[0]);
  ASSERT_OK(letters.Record({letter}));
  letter.queue = "another";
  ASSERT_OK(letters.Record({letter}));
  const NotificationFacts facts = Facts(begun.id);
  ASSERT_THAT(facts.dead_letters, SizeIs(2));
  EXPECT_EQ(facts.dead_letters[0].message_id, begun.deliveries[0].id.ToString());
  EXPECT_EQ(facts.dead_letters[0].state, "dead");
  EXPECT_EQ(facts.dead_letters[0].reason, letter.reason);
  EXPECT_EQ(facts.dead_letters[0].error, letter.error);
  EXPECT_EQ(facts.dead_letters[1].queue, "another");
}

// As an event's page leaves it: no notification, and no item where the feed shows none.
TEST_F(ExplainStoreTest, KnowsOneOfAnEventThatNoFeedShowsByItsDeliveries) {
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  Query(absl::StrCat("DELETE FROM notifications WHERE notification_id = '", begun.id.ToString(), "'"));
  PostgresNotificationStore notifications(MakePool(1));
  ASSERT_OK_AND_ASSIGN(NotificationRecord record, notifications.Get(app_, begun.id));
  EXPECT_EQ(record.state, State::kQueued);
  EXPECT_EQ(record.notification.recipient.value(), "ann");
  EXPECT_THAT(record.notification.channels, UnorderedElementsAre(Channel::kEmail, Channel::kSms));
  EXPECT_FALSE(Facts(begun.id).came_by_door);
  EXPECT_THAT(Facts(begun.id).deliveries, SizeIs(2));
  End(begun.deliveries[0], DeliveryState::kSuppressed, "nowhere");
  End(begun.deliveries[1], DeliveryState::kSent);
  ASSERT_OK_AND_ASSIGN(record, notifications.Get(app_, begun.id));
  EXPECT_EQ(record.state, State::kDelivered);
  EXPECT_TRUE(record.finish_time.has_value());
  EXPECT_EQ(notifications.Get(NewApp(), begun.id).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ExplainStoreTest, TellsNoAppOfAnothersNotification) {
  const Begun begun = Begin({Channel::kEmail}, /*to_feed=*/true);
  const auto facts = explain_.Read({NewApp(), RecipientId("ann")}, begun.id);
  ASSERT_OK(facts);
  EXPECT_FALSE(facts->came_by_door);
  EXPECT_EQ(facts->seq, 0);
  EXPECT_THAT(facts->deliveries, IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
