#include "workers/handlers/notification_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class NotificationHandlerTest : public ::testing::Test {
 protected:
  static Notification For(std::vector<Channel> channels) {
    Notification item = Item("ann", "its trace");
    item.channels = std::move(channels);
    return item;
  }
  // All must be taken.
  const std::vector<FeedDelivery>& Handle(const std::vector<Notification>& items) {
    const absl::StatusOr<std::vector<absl::Status>> statuses = handler_.Handle(items);
    EXPECT_THAT(statuses, IsOkAndHolds(Each(IsOk())));
    EXPECT_THAT(feeds_->decisions(), SizeIs(items.size()));
    return feeds_->decisions();
  }

  SimulatedClock clock_{absl::FromUnixSeconds(1'800'000'100)};
  Metrics metrics_;
  std::shared_ptr<FeedsInMemory> feeds_ = std::make_shared<FeedsInMemory>();
  std::shared_ptr<ContactsInMemory> contacts_ = std::make_shared<ContactsInMemory>();
  WokenLanes waker_;
  std::shared_ptr<CatalogueOfOne> types_ = std::make_shared<CatalogueOfOne>();
  Catalogue catalogue_{types_};
  DecisionsInMemory decisions_{catalogue_, clock_};
  NobodyOnline live_;
  NotificationHandler handler_{{.feeds = feeds_,
                                .deliveries = contacts_,
                                .waker = waker_,
                                .catalogue = catalogue_,
                                .decisions = decisions_.maker,
                                .live = live_,
                                .clock = clock_,
                                .metrics = metrics_,
                                .lane = Lane::kMarketing}};
};

TEST_F(NotificationHandlerTest, ReadsNoContactsForWhatGoesToTheFeedAlone) {
  const auto& decisions = Handle({For({Channel::kInApp}), For({})});
  for (const FeedDelivery& decision : decisions) {
    EXPECT_EQ(decision.state, State::kDelivered);
    EXPECT_THAT(decision.deliveries, IsEmpty());
  }
  EXPECT_THAT(contacts_->reads, IsEmpty());
  EXPECT_THAT(waker_.lanes, IsEmpty());
}

TEST_F(NotificationHandlerTest, WritesNoItemForWhatGoesOutsideAlone) {
  contacts_->everybody.has_email = true;
  const FeedDelivery decision = Handle({For({Channel::kEmail})}).front();
  EXPECT_EQ(decision.state, State::kAccepted);
  EXPECT_EQ(decision.lane, Lane::kMarketing);
  EXPECT_EQ(decision.traceparent, "its trace");
  ASSERT_THAT(decision.deliveries, SizeIs(1));
  EXPECT_EQ(decision.deliveries[0].channel, Channel::kEmail);
  EXPECT_EQ(decision.deliveries[0].fate.state, DeliveryState::kPending);
  EXPECT_THAT(waker_.lanes, ElementsAre(Lane::kMarketing));
}

TEST_F(NotificationHandlerTest, WritesAnItemAndBeginsDeliveriesForWhatGoesToBoth) {
  contacts_->everybody.has_email = true;
  const auto& decisions = Handle({For({Channel::kInApp, Channel::kEmail, Channel::kSms}), For({Channel::kInApp})});
  EXPECT_EQ(decisions[0].state, State::kDelivered);
  ASSERT_THAT(decisions[0].deliveries, SizeIs(2));
  EXPECT_EQ(decisions[0].deliveries[0].fate.state, DeliveryState::kPending);
  EXPECT_EQ(decisions[0].deliveries[1].fate.state, DeliveryState::kSuppressed);
  EXPECT_THAT(decisions[1].deliveries, IsEmpty());
  EXPECT_THAT(contacts_->reads, ElementsAre(1)) << "for one of them, in one go";
}

TEST_F(NotificationHandlerTest, SuppressesWhatCanGoToNoneOfItsChannelsWithTheReason) {
  const FeedDelivery decision = Handle({For({Channel::kEmail, Channel::kApns})}).front();
  EXPECT_EQ(decision.state, State::kSuppressed);
  EXPECT_THAT(decision.detail, HasSubstr("no e-mail address"));
  ASSERT_THAT(decision.deliveries, SizeIs(2));
  for (const NewDelivery& delivery : decision.deliveries) {
    EXPECT_EQ(delivery.fate.state, DeliveryState::kSuppressed);
    EXPECT_NE(delivery.fate.detail, "");
  }
}

TEST_F(NotificationHandlerTest, BeginsNoDeliveryOfWhatHasExpired) {
  Notification item = For({Channel::kInApp, Channel::kEmail});
  item.expire_time = clock_.Now();
  const FeedDelivery decision = Handle({item}).front();
  EXPECT_EQ(decision.state, State::kExpired);
  EXPECT_THAT(decision.deliveries, IsEmpty());
  EXPECT_THAT(contacts_->reads, IsEmpty());
}

TEST_F(NotificationHandlerTest, HoldsOneChannelForQuietHoursAndShowsTheOtherNow) {
  contacts_->everybody.has_email = true;
  const absl::Time quiet_until = clock_.Now() + absl::Hours(2);
  decisions_.settings.of["ann"].settings.do_not_disturb_until = quiet_until;
  types_->type.exchange = "carillon.topic";
  types_->type.routing_key = "marketing.discount";
  const FeedDelivery decision = Handle({For({Channel::kInApp, Channel::kEmail})}).front();
  EXPECT_EQ(decision.state, State::kDelivered);
  EXPECT_FALSE(decision.trail.has_value()) << "the feed met no rule";
  EXPECT_EQ(decision.exchange, "carillon.topic");
  EXPECT_EQ(decision.routing_key, "marketing.discount");
  ASSERT_THAT(decision.deliveries, SizeIs(1));
  const NewDelivery& mail = decision.deliveries.front();
  EXPECT_EQ(mail.fate.state, DeliveryState::kHeld);
  EXPECT_EQ(mail.fate.hold_until, quiet_until);
  EXPECT_THAT(mail.fate.detail, HasSubstr("do not disturb until"));
  ASSERT_TRUE(mail.fate.trail.has_value());
  EXPECT_EQ(mail.fate.trail->decision.outcome, Outcome::kHold);
  EXPECT_NE(mail.envelope, "") << "it may still be sent";
  ASSERT_OK_AND_ASSIGN(const EnvelopeContents again, DecodeContents(mail.fate.again));
  ASSERT_THAT(again.deliveries, SizeIs(1));
  EXPECT_EQ(again.deliveries.front().id, mail.id);
  EXPECT_EQ(again.deliveries.front().decide_time, quiet_until);
}

TEST_F(NotificationHandlerTest, SuppressesWhatItsRecipientHasMutedAndSaysSo) {
  Notification item = For({Channel::kInApp});
  item.actor_id = "bob";
  decisions_.settings.of["ann"].mutes = {{.kind = MuteKind::kActor, .id = "bob"}};
  const FeedDelivery decision = Handle({item}).front();
  EXPECT_EQ(decision.state, State::kSuppressed);
  EXPECT_EQ(decision.detail, "actor is muted");
  ASSERT_TRUE(decision.trail.has_value());
}

TEST_F(NotificationHandlerTest, PutsWhatIsWantedInADigestIntoOne) {
  contacts_->everybody.has_email = true;
  decisions_.settings.of["ann"].settings.preferences = {{.choice = Choice::kDigest}};
  const FeedDelivery decision = Handle({For({Channel::kInApp, Channel::kEmail})}).front();
  ASSERT_THAT(decision.deliveries, SizeIs(1));
  const DeliveryFate& fate = decision.deliveries.front().fate;
  EXPECT_EQ(fate.state, DeliveryState::kHeld);
  EXPECT_FALSE(fate.hold_until.has_value());
  ASSERT_TRUE(fate.digest.has_value());
  EXPECT_GT(fate.digest->due_time, clock_.Now());
  ASSERT_OK_AND_ASSIGN(const EnvelopeContents due, DecodeContents(fate.digest->envelope));
  ASSERT_THAT(due.digests, SizeIs(1));
  EXPECT_EQ(due.digests.front().id, fate.digest->id);
  EXPECT_EQ(due.digests.front().due_time, fate.digest->due_time);
}

TEST_F(NotificationHandlerTest, ShowsWhatACapLeavesToTheFeedThoughItWasNotForIt) {
  contacts_->everybody.has_email = true;
  types_->type.policy.caps = {{.channel = Channel::kEmail, .limit = 1, .window = absl::Hours(1)}};
  types_->type.policy.cap_overflow = Overflow::kInAppOnly;
  const auto& decisions = Handle({For({Channel::kEmail}), For({Channel::kEmail})});
  EXPECT_EQ(decisions[0].state, State::kAccepted);
  EXPECT_EQ(decisions[0].deliveries.front().fate.state, DeliveryState::kPending);
  EXPECT_EQ(decisions[1].state, State::kDelivered);
  EXPECT_EQ(decisions[1].deliveries.front().fate.state, DeliveryState::kSuppressed);
  EXPECT_THAT(decisions[1].deliveries.front().fate.detail, HasSubstr("1 of 1 in 1h"));
}

TEST_F(NotificationHandlerTest, DecidesByTheClockOfASandbox) {
  contacts_->everybody.has_email = true;
  types_->policy.clock_offset = absl::Hours(5);
  const absl::Time quiet_until = clock_.Now() + absl::Hours(6);
  decisions_.settings.of["ann"].settings.do_not_disturb_until = quiet_until;
  const FeedDelivery decision = Handle({For({Channel::kEmail})}).front();
  EXPECT_EQ(decision.deliveries.front().fate.hold_until, clock_.Now() + absl::Hours(1)) << "an hour by ours";
}

TEST_F(NotificationHandlerTest, HoldsForAsLongAsTheItemsOwnTimeSaysWhereAMovedClockIsNotKnownYet) {
  contacts_->everybody.has_email = true;
  Notification item = For({Channel::kEmail});
  item.create_time = clock_.Now() + absl::Hours(5);
  decisions_.settings.of["ann"].settings.do_not_disturb_until = clock_.Now() + absl::Hours(6);
  const FeedDelivery decision = Handle({item}).front();
  EXPECT_EQ(decision.deliveries.front().fate.hold_until, clock_.Now() + absl::Hours(1)) << "an hour by ours";
}

TEST_F(NotificationHandlerTest, HoldsUntilTheVeryMomentThoughAnotherMachinesClockIsAhead) {
  contacts_->everybody.has_email = true;
  Notification item = For({Channel::kEmail});
  item.create_time = clock_.Now() + absl::Milliseconds(5);
  const absl::Time quiet_until = clock_.Now() + absl::Hours(6);
  decisions_.settings.of["ann"].settings.do_not_disturb_until = quiet_until;
  EXPECT_EQ(Handle({item}).front().deliveries.front().fate.hold_until, quiet_until);
}

TEST_F(NotificationHandlerTest, DecidesNothingWhileSettingsCantBeRead) {
  decisions_.settings.away = error::BackendUnavailable("postgresql", "away");
  EXPECT_THAT(handler_.Handle({For({Channel::kInApp})}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(feeds_->decisions(), IsEmpty());
}

TEST_F(NotificationHandlerTest, DecidesNothingWhileContactsCantBeRead) {
  contacts_->away = error::BackendUnavailable("postgresql", "away");
  EXPECT_THAT(handler_.Handle({For({Channel::kInApp}), For({Channel::kEmail})}),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(feeds_->decisions(), IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
