#include "workers/handlers/gathering_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"
#include "tests/unit/workers/reactions_in_memory.h"

namespace carillon::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class GatheringHandlerTest : public ::testing::Test {
 protected:
  GatheringHandlerTest() {
    types_->type.channels = {Channel::kInApp, Channel::kEmail};
    types_->type.lane = Lane::kMarketing;
    types_->type.exchange = "carillon.topic";
    types_->type.routing_key = "marketing.discount";
    types_->type.policy.aggregation = Aggregation{.window = absl::Minutes(5), .sliding = false, .max_window = {}};
    types_->policy.clock_offset = absl::Hours(3);
    EXPECT_OK(catalogue_.Refresh());
  }

  static Notification By(const std::string& actor) {
    Notification item = Item("ann");
    item.actor_id = actor;
    item.object_id = "post-1";
    item.data_json = R"({"actor_name":"Bob"})";
    item.version = 77;
    return item;
  }
  // All must be taken; what was gathered.
  const std::vector<GatheredNotification>& Handle(const std::vector<Notification>& items) {
    EXPECT_THAT(handler_.Handle(items), IsOkAndHolds(Each(IsOk())));
    return store_->gathered;
  }
  void Prefer(std::optional<Channel> channel, Choice choice) {
    decisions_.settings.of["ann"].settings.preferences.push_back(
        {.scope = Preference::Scope::kAll, .name = "", .channel = channel, .choice = choice});
  }

  SimulatedClock clock_{absl::FromUnixSeconds(1'800'000'100)};
  Metrics metrics_;
  std::shared_ptr<FeedsInMemory> feeds_ = std::make_shared<FeedsInMemory>();
  std::shared_ptr<ContactsInMemory> contacts_ = std::make_shared<ContactsInMemory>();
  std::shared_ptr<ReactionsInMemory> store_ = std::make_shared<ReactionsInMemory>();
  WokenLanes waker_;
  std::shared_ptr<CatalogueOfOne> types_ = std::make_shared<CatalogueOfOne>();
  Catalogue catalogue_{types_};
  DecisionsInMemory decisions_{catalogue_, clock_};
  NobodyOnline live_;
  NotificationHandler notifications_{{.feeds = feeds_,
                                      .deliveries = contacts_,
                                      .waker = waker_,
                                      .catalogue = catalogue_,
                                      .decisions = decisions_.maker,
                                      .live = live_,
                                      .clock = clock_,
                                      .metrics = metrics_,
                                      .lane = Lane::kMarketing}};
  ReactionHandler reactions_{
      {.store = store_, .catalogue = catalogue_, .live = live_, .clock = clock_, .metrics = metrics_}};
  GatheringHandler handler_{{.catalogue = catalogue_,
                             .decisions = decisions_.maker,
                             .reactions = reactions_,
                             .notifications = notifications_,
                             .clock = clock_,
                             .metrics = metrics_,
                             .lane = Lane::kMarketing}};
};

TEST_F(GatheringHandlerTest, CountsHowLongTheShownOnesTook) {
  Handle({By("bob"), By("cleo")});
  Prefer(Channel::kInApp, Choice::kOff);
  Handle({By("dan")});
  const auto counted =
      metrics_
          .EndToEnd("carillon_accepted_to_delivered_seconds",
                    "From acceptance at the door, or the send time, to the feed", {{"lane", "marketing"}})
          .Collect()
          .histogram;
  EXPECT_EQ(counted.sample_count, 2);
}

TEST_F(GatheringHandlerTest, MakesAReactionOfWhatAnActorSaysAboutAnObject) {
  const Notification item = By("bob");
  ASSERT_THAT(Handle({item}), SizeIs(1));
  const GatheredNotification& one = store_->gathered.front();
  EXPECT_EQ(one.id, item.id);
  EXPECT_EQ(one.state, State::kDelivered);
  EXPECT_FALSE(one.trail.has_value());
  EXPECT_EQ(one.reaction.kind, item.type);
  EXPECT_EQ(one.reaction.type, item.type);
  EXPECT_EQ(one.reaction.actor_id, "bob");
  EXPECT_EQ(one.reaction.object_id, "post-1");
  EXPECT_EQ(one.reaction.recipient, "ann");
  EXPECT_EQ(one.reaction.version, 77);
  EXPECT_EQ(one.reaction.data_json, item.data_json);
  EXPECT_TRUE(one.reaction.shown);
  EXPECT_THAT(feeds_->decisions(), IsEmpty());
}

TEST_F(GatheringHandlerTest, KnowsTheWindowByTheAppsClockAndWhoIsToldOfItsEnd) {
  Handle({By("bob")});
  const auto window = store_->gathered.front().reaction.window;
  ASSERT_NE(window, nullptr);
  EXPECT_EQ(window->now, clock_.Now() + absl::Hours(3));
  EXPECT_EQ(window->clock_offset, absl::Hours(3));
  EXPECT_EQ(window->aggregation.window, absl::Minutes(5));
  EXPECT_TRUE(window->tells);
  EXPECT_EQ(window->lane, Lane::kMarketing);
  EXPECT_EQ(window->exchange, "carillon.topic");
  EXPECT_EQ(window->routing_key, "marketing.discount");
}

TEST_F(GatheringHandlerTest, LeavesTheRestToTheOthersAndKeepsTheirOrder) {
  Notification refused = Item("refused");
  const std::vector<Notification> items = {Item("ann"), By("bob"), refused, By("elsewhere")};
  ASSERT_OK_AND_ASSIGN(const std::vector<absl::Status> statuses, handler_.Handle(items));
  EXPECT_THAT(statuses, ElementsAre(IsOk(), IsOk(), StatusIs(absl::StatusCode::kInternal), IsOk()));
  std::vector<NotificationId> alone;
  for (const FeedDelivery& decision : feeds_->decisions()) alone.push_back(decision.item.id);
  EXPECT_THAT(alone, ElementsAre(items[0].id, items[3].id))
      << "one that is told to somebody else already goes by itself";
}

TEST_F(GatheringHandlerTest, GivesAVersionToWhatHasNone) {
  std::vector<Notification> items = {By("bob"), By("eve"), By("tom")};
  items[0].version = items[2].version = 0;
  Handle(items);
  EXPECT_EQ(store_->gathered[0].reaction.version, 5000);
  EXPECT_EQ(store_->gathered[1].reaction.version, 77);
  EXPECT_EQ(store_->gathered[2].reaction.version, 5001);
  Handle({By("kim")});
  EXPECT_EQ(store_->next_version, 5000 + ReactionStore::kVersionBlock) << "one block was enough";
}

TEST_F(GatheringHandlerTest, SuppressesWhatAMuteKeepsAway) {
  decisions_.settings.of["ann"].mutes.push_back(
      {.kind = MuteKind::kActor, .id = "bob", .until = absl::InfiniteFuture()});
  Handle({By("bob"), By("eve")});
  EXPECT_EQ(store_->gathered[0].state, State::kSuppressed);
  EXPECT_NE(store_->gathered[0].detail, "");
  EXPECT_TRUE(store_->gathered[0].trail.has_value());
  EXPECT_EQ(store_->gathered[1].state, State::kDelivered);
}

TEST_F(GatheringHandlerTest, CountsUnseenWhatIsNotWantedInTheFeed) {
  Prefer(Channel::kInApp, Choice::kOff);
  Handle({By("bob")});
  EXPECT_EQ(store_->gathered[0].state, State::kDelivered);
  EXPECT_FALSE(store_->gathered[0].reaction.shown);
  EXPECT_TRUE(store_->gathered[0].trail.has_value());
}

TEST_F(GatheringHandlerTest, SuppressesWhatIsWantedNowhere) {
  Prefer(std::nullopt, Choice::kOff);
  Handle({By("bob")});
  EXPECT_EQ(store_->gathered[0].state, State::kSuppressed);
  EXPECT_THAT(store_->gathered[0].detail, HasSubstr("off"));
}

TEST_F(GatheringHandlerTest, DoesNotAskQuietHoursBeforeTheWindowEnds) {
  Prefer(Channel::kInApp, Choice::kOff);
  decisions_.settings.of["ann"].settings.do_not_disturb_until = absl::InfiniteFuture();
  types_->type.policy.quiet_overflow = Overflow::kDrop;
  Handle({By("bob")});
  EXPECT_EQ(store_->gathered[0].state, State::kDelivered);
}

TEST_F(GatheringHandlerTest, EndsWhatHasExpired) {
  Notification item = By("bob");
  item.expire_time = clock_.Now();
  Handle({item});
  EXPECT_EQ(store_->gathered[0].state, State::kExpired);
  EXPECT_THAT(store_->gathered[0].detail, HasSubstr("ttl"));
}

TEST_F(GatheringHandlerTest, LetsOnlyTheOneAtFaultFail) {
  ASSERT_OK_AND_ASSIGN(const std::vector<absl::Status> statuses,
                       handler_.Handle({By("bob"), By("refused"), By("eve")}));
  EXPECT_THAT(statuses, ElementsAre(IsOk(), StatusIs(absl::StatusCode::kInternal), IsOk()));
  EXPECT_THAT(store_->transactions, ElementsAre(1, 1));
}

TEST_F(GatheringHandlerTest, HoldsAllWhileTheStoreIsAway) {
  store_->away = error::BackendUnavailable("postgresql", "away");
  EXPECT_THAT(handler_.Handle({By("bob")}).status(), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace carillon::testing
