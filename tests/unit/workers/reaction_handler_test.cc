#include "workers/handlers/reaction_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/wire/feed_event.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/lane_in_memory.h"
#include "tests/unit/workers/reactions_in_memory.h"
#include "workers/handlers/lane_handler.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using testing::FeedsInMemory;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::StatusIs;

constexpr char kType[] = "marketing.discount";  // The one of CatalogueOfOne.

class EverybodyOnline final : public LivePublisher {
 public:
  absl::Status Publish(absl::Span<const FeedKey> keys, absl::FunctionRef<std::string(size_t)> payload_of) override {
    for (size_t i = 0; i < keys.size(); ++i)
      updates.emplace_back(keys[i].recipient.value(), *DecodeLiveUpdate(payload_of(i)));
    return absl::OkStatus();
  }
  absl::Status PublishSharedEvent(AppId) override { return absl::OkStatus(); }

  std::vector<std::pair<std::string, LiveUpdate>> updates;
};

class ReactionHandlerTest : public ::testing::Test {
 protected:
  ReactionHandlerTest() { EXPECT_OK(catalogue_.Refresh()); }

  static Reaction Like(const std::string& actor, const std::string& recipient = "ann") {
    return {.app = AppId(7),
            .actor_id = actor,
            .object_id = "post-1",
            .kind = "like",
            .version = 1,
            .recipient = recipient,
            .type = recipient.empty() ? "" : kType,
            .data_json = ""};
  }
  // One message with a reaction of each of these actors, for each list.
  static Batch BatchOf(const std::vector<std::vector<std::string>>& messages) {
    std::vector<InboundMessage> inbound;
    for (const auto& actors : messages) {
      InboundMessage& message = inbound.emplace_back();
      message.message_id = actors.front();
      for (const std::string& actor : actors) message.body += EncodeEnvelope(Like(actor));
    }
    std::vector<Batch> batches = CutIntoBatches(std::move(inbound));
    EXPECT_THAT(batches, SizeIs(1));
    return std::move(batches.front());
  }

  testing::SimulatedClock clock_;
  Metrics metrics_;
  Catalogue catalogue_{std::make_shared<testing::CatalogueOfOne>()};
  EverybodyOnline live_;
  const std::shared_ptr<testing::ReactionsInMemory> store_ = std::make_shared<testing::ReactionsInMemory>();
  testing::LaneInMemory lane_{{.lane = Lane::kSocial,
                               .catalogue = catalogue_,
                               .live = live_,
                               .clock = clock_,
                               .metrics = metrics_,
                               .reactions = store_}};
  ReactionHandler& handler_ = lane_.reactions;
};

TEST_F(ReactionHandlerTest, RendersTheItemOfTheReactionItIsShown) {
  Reaction like = Like("bob");
  like.accept_time = absl::FromUnixSeconds(77);
  ASSERT_OK(handler_.Handle({like}));
  ASSERT_THAT(store_->rendered, SizeIs(1));
  const ReactionItem& rendered = store_->rendered.front();
  EXPECT_EQ(rendered.item.type, kType);
  EXPECT_EQ(rendered.item.actor_id, "bob");
  EXPECT_EQ(rendered.item.object_id, "post-1");
  EXPECT_EQ(rendered.item.create_time, absl::FromUnixSeconds(77));
  EXPECT_EQ(rendered.item.id.time(), clock_.Now());
  EXPECT_EQ(rendered.retention_days, 7);
}

TEST_F(ReactionHandlerTest, LocksAtMostSoManyFeedsInATransaction) {
  std::vector<Reaction> reactions;
  for (int i = 0; i < 450; ++i) reactions.push_back(Like("bob", absl::StrCat("user-", i)));
  ASSERT_OK(handler_.Handle(reactions));
  EXPECT_THAT(store_->transactions, ElementsAre(200, 200, 50));
  store_->transactions.clear();
  ASSERT_OK(handler_.Handle(std::vector<Reaction>(1500, Like("bob"))));
  EXPECT_THAT(store_->transactions, ElementsAre(1000, 500));
}

TEST_F(ReactionHandlerTest, CutsBetweenGroupsOnly) {
  std::vector<Reaction> reactions;
  for (int group = 0; group < 4; ++group) {
    const Uuid id = NewUuid7(clock_.Now());
    for (int i = 0; i < 150; ++i) {
      // The first two tell the same recipients, each of the others its own.
      reactions.push_back(Like("bob", absl::StrCat("user-", std::max(group, 1), "-", i)));
      reactions.back().group = id;
    }
  }
  ASSERT_OK(handler_.Handle(reactions));
  EXPECT_THAT(store_->transactions, ElementsAre(300, 150, 150));
}

TEST_F(ReactionHandlerTest, WakesStreamsWithItemsAndRemovalsBySeq) {
  const FeedKey ann{AppId(7), RecipientId("ann")}, ben{AppId(7), RecipientId("ben")};
  FeedItem item;
  item.seq = 4;
  item.type = kType;
  FeedItem removed;
  removed.seq = 5;
  store_->changes = {
      {.key = ann, .item = item}, {.key = ben, .item = item}, {.key = ann, .item = removed, .removed = true}};
  ASSERT_OK(handler_.Handle({Like("bob")}));
  ASSERT_THAT(live_.updates, SizeIs(2));
  EXPECT_EQ(live_.updates[0].first, "ann");
  const LiveUpdate& update = live_.updates[0].second;
  EXPECT_EQ(update.last_seq, 5);
  ASSERT_THAT(update.events, SizeIs(2));
  EXPECT_EQ(update.events[0].seq, 4);
  v1::SubscribeResponse response;
  ASSERT_TRUE(response.ParseFromString(*update.events[1].message));
  EXPECT_EQ(response.seq(), 5);
  EXPECT_EQ(response.removed().notification_id(), removed.id.ToString());
}

TEST_F(ReactionHandlerTest, GathersNothingOfATypeThatDoesNotAggregate) {
  ASSERT_OK(handler_.Handle({Like("bob")}));
  EXPECT_THAT(store_->windows, ElementsAre(nullptr));
}

TEST_F(ReactionHandlerTest, DoesNothingForATypeThatIsNotInTheCatalogue) {
  Reaction unknown = Like("bob");
  unknown.type = "no.such.type";
  EXPECT_THAT(handler_.Handle({Like("eve"), unknown}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->transactions, IsEmpty());
}

TEST_F(ReactionHandlerTest, LetsOnlyTheMessageAtFaultFail) {
  const Batch batch = BatchOf({{"a", "b"}, {"c", "refused"}, {"d"}});
  ASSERT_OK_AND_ASSIGN(const std::vector<FailedItem> failures, lane_.handler.Handle(batch));
  EXPECT_THAT(store_->applied, ElementsAre("a", "b", "d"));
  ASSERT_THAT(failures, SizeIs(1));
  EXPECT_EQ(failures[0].message->message_id, "c");
  EXPECT_EQ(failures[0].item, nullptr);
}

TEST_F(ReactionHandlerTest, HoldsAllWhileTheStoreIsAway) {
  store_->away = error::BackendUnavailable("postgresql", "away");
  const Batch batch = BatchOf({{"a"}, {"b"}});
  EXPECT_THAT(lane_.handler.Handle(batch).status(), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace carillon
