#include "workers/handlers/redecision_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RedecisionHandlerTest : public ::testing::Test {
 protected:
  // A mail that was held until now.
  Delivery Held() const {
    Notification item = Item("ann");
    item.channels = {Channel::kEmail};
    return {.id = NewUuid7(clock_.Now()),
            .channel = Channel::kEmail,
            .device_id = "",
            .item = item,
            .decide_time = clock_.Now()};
  }
  DeliveryFate Decide(const Delivery& delivery) {
    EXPECT_OK(handler_.Handle({delivery}));
    EXPECT_THAT(store_->again, SizeIs(1));
    return store_->again.empty() ? DeliveryFate() : store_->again.front().fate;
  }
  RecipientSettings& settings() { return decisions_.settings.of["ann"].settings; }

  SimulatedClock clock_{absl::FromUnixSeconds(1'800'000'100)};
  Metrics metrics_;
  std::shared_ptr<ContactsInMemory> store_ = std::make_shared<ContactsInMemory>();
  WokenLanes waker_;
  std::shared_ptr<CatalogueOfOne> types_ = std::make_shared<CatalogueOfOne>();
  Catalogue catalogue_{types_};
  DecisionsInMemory decisions_{catalogue_, clock_};
  NobodyOnline live_;
  RedecisionHandler handler_{{.deliveries = store_,
                              .waker = waker_,
                              .catalogue = catalogue_,
                              .decisions = decisions_.maker,
                              .live = live_,
                              .clock = clock_,
                              .metrics = metrics_,
                              .lane = Lane::kMarketing}};
};

TEST_F(RedecisionHandlerTest, LetsGoWhatNothingStopsAnyMoreAndWritesDownWhen) {
  const DeliveryFate fate = Decide(Held());
  EXPECT_EQ(fate.state, DeliveryState::kPending);
  ASSERT_TRUE(fate.trail.has_value());
  EXPECT_EQ(fate.trail->time, clock_.Now());
  EXPECT_THAT(fate.trail->decision.rules, IsEmpty());
  EXPECT_THAT(waker_.lanes, ElementsAre(Lane::kMarketing));
}

TEST_F(RedecisionHandlerTest, HoldsFurtherWhereQuietHoursHaveBeenMadeLonger) {
  settings().do_not_disturb_until = clock_.Now() + absl::Hours(3);
  const DeliveryFate fate = Decide(Held());
  EXPECT_EQ(fate.state, DeliveryState::kHeld);
  EXPECT_EQ(fate.hold_until, clock_.Now() + absl::Hours(3));
}

TEST_F(RedecisionHandlerTest, SuppressesWhatIsNotWantedAnyMore) {
  settings().preferences = {{.choice = Choice::kOff}};
  const DeliveryFate fate = Decide(Held());
  EXPECT_EQ(fate.state, DeliveryState::kSuppressed);
  EXPECT_EQ(fate.detail, "recipient, all types: off");
}

TEST_F(RedecisionHandlerTest, EndsWhatDidNotLiveSoLong) {
  Delivery held = Held();
  held.item.expire_time = clock_.Now();
  EXPECT_EQ(Decide(held).state, DeliveryState::kExpired);
}

TEST_F(RedecisionHandlerTest, ASandboxDecidesByTheTimeThatItWasHeldUntilAtTheEarliest) {
  types_->policy.sandbox = true;
  settings().do_not_disturb_until = clock_.Now() + absl::Hours(1);
  Delivery held = Held();
  held.decide_time = clock_.Now() + absl::Hours(1);
  EXPECT_EQ(Decide(held).state, DeliveryState::kPending) << "the sandbox's clock was moved, and is not known here yet";
}

TEST_F(RedecisionHandlerTest, LooksAtWhatComesEarlierByTheSettingsAndTheTimeOfNow) {
  Delivery held = Held();
  held.decide_time = clock_.Now() + absl::Hours(8);
  const absl::Time until = clock_.Now() + absl::Hours(2);
  settings().do_not_disturb_until = until;
  EXPECT_EQ(Decide(held).hold_until, until);
}

TEST_F(RedecisionHandlerTest, TakesWhatIsNearlyDueByAnotherMachinesClockForDue) {
  Delivery held = Held();
  held.decide_time = clock_.Now() + absl::Milliseconds(5);
  settings().do_not_disturb_until = held.decide_time;
  EXPECT_EQ(Decide(held).state, DeliveryState::kPending);
}

TEST_F(RedecisionHandlerTest, HoldsNothingForLongerThanItIsKept) {
  settings().do_not_disturb_until = clock_.Now() + absl::Hours(24 * 300);
  Delivery held = Held();
  const absl::Time kept_until = held.item.create_time + absl::Hours(24) * held.item.retention_days;
  EXPECT_EQ(Decide(held).hold_until, kept_until);
  store_->again.clear();
  clock_.Advance(kept_until - clock_.Now());
  const DeliveryFate fate = Decide(held);
  EXPECT_EQ(fate.state, DeliveryState::kExpired);
  EXPECT_THAT(fate.detail, HasSubstr("its retention ended before"));
}

TEST_F(RedecisionHandlerTest, ShowsInTheFeedWhatACapLeavesToIt) {
  types_->type.policy.caps = {{.channel = Channel::kEmail, .limit = 1, .window = absl::Hours(1)}};
  types_->type.policy.cap_overflow = Overflow::kInAppOnly;
  ASSERT_OK(handler_.Handle({Held(), Held()}));
  ASSERT_THAT(store_->again, SizeIs(2));
  EXPECT_EQ(store_->again[0].fate.state, DeliveryState::kPending);
  EXPECT_EQ(store_->again[1].fate.state, DeliveryState::kSuppressed);
  EXPECT_THAT(store_->added, SizeIs(1));
}

TEST_F(RedecisionHandlerTest, ChangesNothingWhileSettingsCantBeRead) {
  decisions_.settings.away = absl::UnavailableError("away");
  EXPECT_THAT(handler_.Handle({Held()}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(store_->again, IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
