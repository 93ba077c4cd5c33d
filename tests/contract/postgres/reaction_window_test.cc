// Reactions that are gathered in windows.
#include <gmock/gmock.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "tests/contract/postgres/window_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

nlohmann::json DataOf(const FeedItem& item) { return nlohmann::json::parse(item.data_json); }

class ReactionWindowTest : public WindowTest {};

TEST_F(ReactionWindowTest, BeginsWithTheFirstAndGathersAllIntoOneItem) {
  Apply({Like("bob", 1)});
  ASSERT_THAT(Items(), SizeIs(1));
  const NotificationId id = Items()[0].id;
  now_ += absl::Minutes(9);
  Apply({Like("eve", 2), Like("tom", 3)});
  Apply({Like("kim", 4)});
  ASSERT_THAT(Items(), SizeIs(1));
  const FeedItem item = Items()[0];
  EXPECT_EQ(item.id, id);
  EXPECT_EQ(item.actor_count, 4);
  EXPECT_EQ(item.seq, 3) << "it has moved up each time";
  EXPECT_EQ(DataOf(item), nlohmann::json::parse(R"({"actor_name": "Mx kim", "count": 4, "others": 3, "others_any": true,
      "names": ["Mx kim", "Mx tom", "Mx eve"], "summary": "Mx kim and 3 others"})"));
}

TEST_F(ReactionWindowTest, WaitsForItsEndByOurClock) {
  Apply({Like("bob", 1)});
  const DueWindow due = Waiting();
  EXPECT_EQ(due.app, ann_.app);
  EXPECT_EQ(due.type, "like");
  EXPECT_EQ(due.recipient, ann_.recipient);
  EXPECT_EQ(due.object_id, kPost);
  EXPECT_EQ(due.due_time, now_ + absl::Minutes(10));
  EXPECT_EQ(OfApp("SELECT (extract(epoch FROM due_at) * 1e6)::bigint FROM schedules"),
            absl::StrCat(absl::ToUnixMicros(due.due_time - kOffset)));
  EXPECT_EQ(OfApp("SELECT concat_ws(' ', message_id = notification_id, lane, cause, exchange, routing_key, type, "
                  "recipient_id, retention_days) FROM schedules"),
            "t social window carillon.direct social.like like ann 7");
  EXPECT_EQ(OfApp("SELECT message_id FROM schedules"), due.id.ToString());
}

TEST_F(ReactionWindowTest, AFixedOneEndsWhenItWasToEndWhoeverJoins) {
  Apply({Like("bob", 1)});
  const absl::Time end = Waiting().due_time;
  now_ += absl::Minutes(9);
  Apply({Like("eve", 2)});
  EXPECT_EQ(Waiting().due_time, end);
}

TEST_F(ReactionWindowTest, ASlidingOneEndsLaterWithEachWhoJoinsButNotForEver) {
  aggregation_ = {.window = absl::Minutes(10), .sliding = true, .max_window = absl::Minutes(25)};
  const absl::Time begin = now_;
  Apply({Like("bob", 1)});
  EXPECT_EQ(Waiting().due_time, begin + absl::Minutes(10));
  const Uuid id = Waiting().id;
  now_ += absl::Minutes(9);
  Apply({Like("eve", 2)});
  EXPECT_EQ(Waiting().due_time, begin + absl::Minutes(19));
  EXPECT_EQ(OfApp("SELECT (extract(epoch FROM due_at) * 1e6)::bigint FROM schedules"),
            absl::StrCat(absl::ToUnixMicros(begin + absl::Minutes(19) - kOffset)));
  Apply({Like("eve", 3)});
  now_ += absl::Minutes(1);
  Apply({Like("eve", 4), Unlike("bob", 5)});
  EXPECT_EQ(Waiting().due_time, begin + absl::Minutes(19)) << "nobody has joined";
  now_ += absl::Minutes(8);
  Apply({Like("tom", 6)});
  EXPECT_EQ(Waiting().due_time, begin + absl::Minutes(25));
  EXPECT_EQ(Waiting().id, id);
}

TEST_F(ReactionWindowTest, IsFollowedByAnotherThatCountsOnlyWhoJoinsIt) {
  tells_ = false;
  Apply({Like("bob", 1), Like("eve", 2)});
  now_ += absl::Minutes(10);
  Apply({Like("tom", 3)});
  EXPECT_THAT(Counts(), ElementsAre(1, 2)) << "the old one is history";
  EXPECT_EQ(DataOf(Items()[0])["summary"], "Mx tom");
  // Only the old one counted him.
  EXPECT_THAT(Apply({Unlike("bob", 4)}), IsEmpty());
  EXPECT_THAT(Counts(), ElementsAre(1, 2));
  // She is told of anew.
  Apply({Like("eve", 5)});
  EXPECT_THAT(Counts(), ElementsAre(2, 2));
  Apply({Unlike("eve", 6)});
  EXPECT_THAT(Counts(), ElementsAre(1, 2));
  const std::vector<ReactionChange> last = Apply({Unlike("tom", 7)});
  ASSERT_THAT(last, SizeIs(1));
  EXPECT_TRUE(last[0].removed);
  EXPECT_THAT(Counts(), ElementsAre(2));
  Apply({Like("kim", 8)});
  EXPECT_THAT(Counts(), ElementsAre(1, 2));
}

TEST_F(ReactionWindowTest, CountsWhoIsLateInTheOneThatIsOpen) {
  tells_ = false;
  Apply({Like("bob", 100)});
  now_ += absl::Minutes(10);
  Apply({Like("tom", 200)});
  // Accepted long before, and on the way for long.
  Apply({Like("eve", 50)});
  EXPECT_THAT(Counts(), ElementsAre(2, 1));
  Apply({Unlike("eve", 201)});
  EXPECT_THAT(Counts(), ElementsAre(1, 1));
}

TEST_F(ReactionWindowTest, ChangesNothingForThoseWhomItCounts) {
  const std::vector<Reaction> batch = {Like("bob", 1), Like("eve", 2)};
  Apply(batch);
  const int64_t seq = Items()[0].seq;
  EXPECT_THAT(Apply(batch), IsEmpty()) << "the same once more";
  EXPECT_THAT(Apply({Like("bob", 3)}), IsEmpty()) << "the same anew";
  EXPECT_EQ(Items()[0].seq, seq);
  Apply({Unlike("bob", 4)});
  EXPECT_THAT(Counts(), ElementsAre(1)) << "it still counted him";
}

TEST_F(ReactionWindowTest, StaysOpenUntilItsEndIsCarriedOut) {
  Apply({Like("bob", 1)});
  const DueWindow due = Waiting();
  now_ += absl::Hours(1);
  Apply({Like("eve", 2)});
  EXPECT_THAT(Counts(), ElementsAre(2)) << "what is late is told together";
  EXPECT_THAT(End(due), SizeIs(1));
  EXPECT_EQ(WindowsThatWait(), "0");
  // By whatever clock.
  now_ -= absl::Hours(1);
  Apply({Like("tom", 3)});
  EXPECT_THAT(Counts(), ElementsAre(1, 2));
  EXPECT_NE(Waiting().id, due.id);
}

TEST_F(ReactionWindowTest, TellsAtItsEndWhatItHasGatheredAndUnderTheItemsId) {
  Apply({Like("bob", 1), Like("eve", 2)});
  const DueWindow due = Waiting();
  ASSERT_OK_AND_ASSIGN(const auto read, store_.ReadWindows({due}));
  ASSERT_TRUE(read[0].has_value());
  EXPECT_EQ(read[0]->newest.actor_id, "eve");
  Apply({Like("tom", 3)});
  const std::vector<GatheredWindow> ended = End(due);
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_TRUE(ended[0].stands);
  EXPECT_EQ(ended[0].id, Items()[0].id);
  EXPECT_EQ(ended[0].newest.actor_id, "tom");
  EXPECT_EQ(nlohmann::json::parse(ended[0].newest.data_json)["summary"], "Mx tom and 2 others");
  EXPECT_EQ(OfApp("SELECT concat_ws(' ', notification_id, retention_days, lane, channel, state, type, recipient_id) "
                  "FROM deliveries"),
            absl::StrCat(Items()[0].id.ToString(), " 7 social email pending like ann"));
  EXPECT_EQ(OfApp("SELECT concat_ws(' ', exchange, routing_key) FROM outbox"), "carillon.delivery social.email");
  // Again: nothing.
  EXPECT_THAT(End(due), IsEmpty());
  EXPECT_THAT(store_.ReadWindows({due}), IsOkAndHolds(ElementsAre(::testing::Eq(std::nullopt))));
  EXPECT_EQ(OfApp("SELECT count(*) FROM deliveries"), "1");
}

TEST_F(ReactionWindowTest, LeavesTheItemToThoseWhoGoAfterItsEnd) {
  Apply({Like("bob", 1), Like("eve", 2)});
  End(Waiting());
  Apply({Unlike("eve", 3)});
  EXPECT_THAT(Counts(), ElementsAre(1));
  Apply({Unlike("bob", 4)});
  EXPECT_THAT(Items(), IsEmpty());
}

TEST_F(ReactionWindowTest, TellsNothingOfAGroupThatIsEmpty) {
  Apply({Like("bob", 1), Like("eve", 2)});
  const DueWindow due = Waiting();
  const std::vector<ReactionChange> changes = Apply({Unlike("bob", 3), Unlike("eve", 4)});
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_TRUE(changes[0].removed);
  EXPECT_EQ(WindowsThatWait(), "0");
  EXPECT_EQ(OfApp("SELECT count(*) FROM reaction_items"), "0");
  EXPECT_THAT(End(due), IsEmpty());
  EXPECT_THAT(store_.ReadWindows({due}), IsOkAndHolds(ElementsAre(::testing::Eq(std::nullopt))));
  // Whoever comes then begins another.
  Apply({Like("bob", 5)});
  EXPECT_NE(Waiting().id, due.id);
  EXPECT_THAT(End(due), IsEmpty()) << "a message of the old one";
  EXPECT_EQ(WindowsThatWait(), "1");
}

TEST_F(ReactionWindowTest, CountsThoseWhoAreNotToBeSeenAndShowsThemWithTheOthers) {
  Reaction unseen = Like("bob", 1);
  unseen.shown = false;
  EXPECT_THAT(Apply({unseen}), IsEmpty());
  EXPECT_THAT(Items(), IsEmpty());
  const DueWindow due = Waiting();
  Apply({Like("eve", 2)});
  EXPECT_THAT(Counts(), ElementsAre(2));
  const int64_t seq = Items()[0].seq;
  unseen = Like("tom", 3);
  unseen.shown = false;
  EXPECT_THAT(Apply({unseen}), IsEmpty());
  EXPECT_EQ(Items()[0].seq, seq);
  EXPECT_EQ(nlohmann::json::parse(End(due)[0].newest.data_json)["count"], 3);
}

TEST_F(ReactionWindowTest, TellsUnderAnIdOfItsOwnWhatNoFeedShows) {
  Reaction unseen = Like("bob", 1);
  unseen.shown = false;
  Apply({unseen});
  const std::vector<GatheredWindow> ended = End(Waiting());
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_FALSE(ended[0].stands);
  EXPECT_EQ(OfApp("SELECT notification_id || ' ' || retention_days FROM deliveries"),
            absl::StrCat(ended[0].id.ToString(), " 30"));
}

TEST_F(ReactionWindowTest, BeginsBesideAnItemThatStoodForEver) {
  Reaction before = Like("bob", 1);
  before.window = nullptr;
  Apply({before});
  Apply({Like("eve", 2)});
  EXPECT_THAT(Counts(), ElementsAre(1, 1));
  Apply({Unlike("bob", 3)});
  EXPECT_THAT(Counts(), ElementsAre(1, 1)) << "no window counted him";
  Apply({Unlike("eve", 4)});
  EXPECT_THAT(Counts(), ElementsAre(1));
}

TEST_F(ReactionWindowTest, GoesOnAsAnItemThatStandsWhenItsTypeGathersNoMore) {
  tells_ = false;
  Apply({Like("bob", 1)});
  now_ += absl::Hours(1);
  const auto for_good = [&](const std::string& actor, int64_t version) {
    Reaction reaction = Like(actor, version);
    reaction.window = nullptr;
    return reaction;
  };
  Apply({for_good("eve", 2)});
  EXPECT_THAT(Counts(), ElementsAre(2));
  EXPECT_THAT(Apply({for_good("bob", 3)}), IsEmpty()) << "it counts him already";
  Apply({Unlike("eve", 4)});
  EXPECT_THAT(Counts(), ElementsAre(1));
  Apply({Unlike("bob", 5)});
  EXPECT_THAT(Items(), IsEmpty());
}

TEST_F(ReactionWindowTest, CountsFiftyWritersToTheUnitAndTellsOnce) {
  std::atomic<int64_t> version = 0;
  RunThreads(50, [&](int writer) {
    const std::string actor = absl::StrCat("actor-", writer);
    for (int round = 0; round < 2; ++round) {
      ASSERT_OK(store_.Apply({Like(actor, ++version)}, Render));
      ASSERT_OK(store_.Apply({Unlike(actor, ++version)}, Render));
    }
    if (writer % 5 == 0) return;
    ASSERT_OK(store_.Apply({Like(actor, ++version)}, Render));
  });
  EXPECT_THAT(Counts(), ElementsAre(40));
  const DueWindow due = Waiting();
  std::atomic<int> ended = 0;
  RunThreads(8, [&](int) { ended += static_cast<int>(End(due).size()); });
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(OfApp("SELECT count(*) FROM deliveries"), "1");
}

// Each is either in what was told or in the window after it, and in one of them only.
TEST_F(ReactionWindowTest, LosesNobodyWhoJoinsWhileItEnds) {
  Apply({Like("the first", 1)});
  const DueWindow due = Waiting();
  std::atomic<int64_t> version = 1;
  std::atomic<int64_t> told = 0;
  RunThreads(31, [&](int thread) {
    if (thread == 30) {
      while (version < 40) std::this_thread::yield();
      told = nlohmann::json::parse(End(due).at(0).newest.data_json)["count"].get<int64_t>();
      return;
    }
    for (int i = 0; i < 3; ++i) {
      ASSERT_OK(store_.Apply({Like(absl::StrCat("actor-", thread, "-", i), ++version)}, Render));
    }
  });
  ASSERT_GT(told, 0);
  const std::vector<int64_t> counts = Counts();
  EXPECT_EQ(counts.back(), told) << "the item and what was sent say the same";
  const int64_t after = counts.size() > 1 ? counts.front() : 0;
  EXPECT_EQ(told + after, 91);
}

}  // namespace
}  // namespace carillon::testing
