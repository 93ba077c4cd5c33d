#include "workers/handlers/notification_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
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
  Catalogue catalogue_{std::make_shared<CatalogueOfOne>()};
  NobodyOnline live_;
  NotificationHandler handler_{{.feeds = feeds_,
                                .deliveries = contacts_,
                                .waker = waker_,
                                .catalogue = catalogue_,
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
  EXPECT_EQ(decision.deliveries[0].state, DeliveryState::kPending);
  EXPECT_THAT(waker_.lanes, ElementsAre(Lane::kMarketing));
}

TEST_F(NotificationHandlerTest, WritesAnItemAndBeginsDeliveriesForWhatGoesToBoth) {
  contacts_->everybody.has_email = true;
  const auto& decisions = Handle({For({Channel::kInApp, Channel::kEmail, Channel::kSms}), For({Channel::kInApp})});
  EXPECT_EQ(decisions[0].state, State::kDelivered);
  ASSERT_THAT(decisions[0].deliveries, SizeIs(2));
  EXPECT_EQ(decisions[0].deliveries[0].state, DeliveryState::kPending);
  EXPECT_EQ(decisions[0].deliveries[1].state, DeliveryState::kSuppressed);
  EXPECT_THAT(decisions[1].deliveries, IsEmpty());
  EXPECT_THAT(contacts_->reads, ElementsAre(1)) << "for one of them, in one go";
}

TEST_F(NotificationHandlerTest, SuppressesWhatCanGoToNoneOfItsChannelsWithTheReason) {
  const FeedDelivery decision = Handle({For({Channel::kEmail, Channel::kApns})}).front();
  EXPECT_EQ(decision.state, State::kSuppressed);
  EXPECT_THAT(decision.detail, HasSubstr("no e-mail address"));
  ASSERT_THAT(decision.deliveries, SizeIs(2));
  for (const NewDelivery& delivery : decision.deliveries) {
    EXPECT_EQ(delivery.state, DeliveryState::kSuppressed);
    EXPECT_NE(delivery.detail, "");
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

TEST_F(NotificationHandlerTest, DecidesNothingWhileContactsCantBeRead) {
  contacts_->away = error::BackendUnavailable("postgresql", "away");
  EXPECT_THAT(handler_.Handle({For({Channel::kInApp}), For({Channel::kEmail})}),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(feeds_->decisions(), IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
