#include "workers/handlers/window_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"
#include "tests/unit/workers/reactions_in_memory.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class WindowHandlerTest : public ::testing::Test {
 protected:
  WindowHandlerTest() {
    types_->type.channels = {Channel::kInApp, Channel::kEmail};
    types_->type.exchange = "carillon.topic";
    types_->type.routing_key = "marketing.discount";
    types_->type.ttl = absl::Hours(1);
    types_->type.policy.aggregation = Aggregation{.window = absl::Minutes(5), .sliding = false, .max_window = {}};
    contacts_->everybody.has_email = true;
    store_->open = GatheredWindow{.newest = {.actor_id = "bob", .data_json = R"({"count":20})"},
                                  .stands = true,
                                  .id = NewUuid7(clock_.Now() - absl::Minutes(5)),
                                  .retention_days = 30};
  }

  DueWindow Due() const {
    return {.app = AppId(7),
            .type = "marketing.discount",
            .id = NewUuid7(clock_.Now()),
            .recipient = RecipientId("ann"),
            .object_id = "post-1",
            .due_time = clock_.Now()};
  }
  // Of the only window that ended.
  const std::vector<NewDelivery>& Begun() {
    EXPECT_OK(handler_.Handle({Due()}));
    EXPECT_THAT(store_->begun, SizeIs(1));
    return store_->begun.front();
  }

  SimulatedClock clock_{absl::FromUnixSeconds(1'800'000'100)};
  Metrics metrics_;
  std::shared_ptr<ContactsInMemory> contacts_ = std::make_shared<ContactsInMemory>();
  std::shared_ptr<ReactionsInMemory> store_ = std::make_shared<ReactionsInMemory>();
  WokenLanes waker_;
  std::shared_ptr<CatalogueOfOne> types_ = std::make_shared<CatalogueOfOne>();
  Catalogue catalogue_{types_};
  DecisionsInMemory decisions_{catalogue_, clock_};
  NobodyOnline live_;
  WindowHandler handler_{{.reactions = store_,
                          .deliveries = contacts_,
                          .waker = waker_,
                          .catalogue = catalogue_,
                          .decisions = decisions_.maker,
                          .live = live_,
                          .clock = clock_,
                          .metrics = metrics_,
                          .lane = Lane::kMarketing}};
};

TEST_F(WindowHandlerTest, SendsWhatWasGatheredInTheEndUnderTheItemsId) {
  const std::vector<NewDelivery>& begun = Begun();
  ASSERT_THAT(begun, SizeIs(1)) << "the feed has it";
  EXPECT_EQ(begun[0].channel, Channel::kEmail);
  EXPECT_EQ(begun[0].fate.state, DeliveryState::kPending);
  ASSERT_OK_AND_ASSIGN(const EnvelopeContents sent, DecodeContents(begun[0].envelope));
  ASSERT_THAT(sent.deliveries, SizeIs(1));
  const Notification& message = sent.deliveries[0].item;
  EXPECT_EQ(message.id, store_->open->id);
  EXPECT_EQ(message.retention_days, 30);
  EXPECT_EQ(message.actor_id, "the last") << "not who was the last when it was read";
  EXPECT_EQ(message.object_id, "post-1");
  EXPECT_EQ(message.data_json, R"({"count":20})");
  EXPECT_EQ(message.expire_time, clock_.Now() + absl::Hours(1));
  EXPECT_THAT(waker_.lanes, ElementsAre(Lane::kMarketing));
}

TEST_F(WindowHandlerTest, DoesNothingWhereNothingIsToBeTold) {
  store_->open.reset();
  EXPECT_OK(handler_.Handle({Due()}));
  EXPECT_THAT(store_->ends, IsEmpty());
  EXPECT_THAT(contacts_->reads, IsEmpty());
  EXPECT_THAT(waker_.lanes, IsEmpty());
}

TEST_F(WindowHandlerTest, DecidesByTheSettingsOfItsEnd) {
  decisions_.settings.of["ann"].settings.do_not_disturb_until = clock_.Now() + absl::Hours(2);
  EXPECT_EQ(Begun()[0].fate.state, DeliveryState::kHeld);
  EXPECT_EQ(store_->ends[0].routing_key, "marketing.discount");
}

TEST_F(WindowHandlerTest, IsNotStoppedByAMuteOfItsNewestActor) {
  decisions_.settings.of["ann"].mutes.push_back(
      {.kind = MuteKind::kActor, .id = "the last", .until = absl::InfiniteFuture()});
  EXPECT_EQ(Begun()[0].fate.state, DeliveryState::kPending);
}

TEST_F(WindowHandlerTest, IsStoppedByAMuteOfItsObject) {
  decisions_.settings.of["ann"].mutes.push_back(
      {.kind = MuteKind::kObject, .id = "post-1", .until = absl::InfiniteFuture()});
  EXPECT_EQ(Begun()[0].fate.state, DeliveryState::kSuppressed);
}

TEST_F(WindowHandlerTest, UsesUpOneOfACapHoweverOftenItComes) {
  types_->type.policy.caps = {{.channel = Channel::kEmail, .limit = 1, .window = absl::Hours(1)}};
  const DueWindow due = Due();
  ASSERT_OK(handler_.Handle({due}));
  ASSERT_OK(handler_.Handle({due}));
  EXPECT_EQ(store_->begun.back()[0].fate.state, DeliveryState::kPending);
  ASSERT_OK(handler_.Handle({Due()}));
  EXPECT_EQ(store_->begun.back()[0].fate.state, DeliveryState::kSuppressed);
}

TEST_F(WindowHandlerTest, ShowsInTheFeedWhatIsLeftToItAlone) {
  types_->type.channels = {Channel::kEmail};
  types_->type.policy.quiet_overflow = Overflow::kInAppOnly;
  store_->open->stands = false;
  decisions_.settings.of["ann"].settings.do_not_disturb_until = clock_.Now() + absl::Hours(2);
  EXPECT_EQ(Begun()[0].fate.state, DeliveryState::kSuppressed);
  ASSERT_THAT(store_->added, SizeIs(1));
  EXPECT_EQ(store_->added[0].id, store_->ends[0].id) << "the one that the deliveries are of";
  EXPECT_EQ(store_->added[0].object_id, "post-1");
}

TEST_F(WindowHandlerTest, HoldsAllWhileTheStoreIsAway) {
  store_->away = error::BackendUnavailable("postgresql", "away");
  EXPECT_THAT(handler_.Handle({Due()}), StatusIs(absl::StatusCode::kUnavailable));
  DueWindow unknown = Due();
  unknown.type = "no.such.type";
  EXPECT_THAT(handler_.Handle({unknown}), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace carillon::testing
