// Notifications that are reactions.
#include <gmock/gmock.h>

#include <atomic>

#include "tests/contract/postgres/window_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class GatheringTest : public WindowTest {
 protected:
  // Accepted, on its way.
  GatheredNotification Sent(const std::string& actor, int64_t version, const std::string& recipient = "ann") {
    const NewNotification item = MakeNew(ann_.app, recipient);
    AcceptOne(item);
    GatheredNotification sent{.id = item.notification.id,
                              .retention_days = item.notification.retention_days,
                              .detail = "",
                              .trail = {},
                              .reaction = Like(actor, version)};
    sent.reaction.recipient = recipient;
    return sent;
  }
  GatherResult Gather(const std::vector<GatheredNotification>& notifications) {
    absl::StatusOr<GatherResult> result = store_.Gather(notifications, Render);
    EXPECT_OK(result);
    return result.ok() ? *std::move(result) : GatherResult();
  }
  static std::string StateOf(const GatheredNotification& sent) {
    return Query(
        absl::StrCat("SELECT concat_ws('|', state, detail, finished_at IS NOT NULL, trail IS NOT NULL) "
                     "FROM notifications WHERE notification_id = '",
                     sent.id.ToString(), "'"));
  }
};

TEST_F(GatheringTest, EndsInTheItemThatTellsOfIt) {
  const GatheredNotification bob = Sent("bob", 1), eve = Sent("eve", 2);
  const GatherResult result = Gather({bob, eve});
  EXPECT_THAT(result.outcomes, ElementsAre(Gathered::kDone, Gathered::kDone));
  ASSERT_THAT(result.changes, SizeIs(1));
  EXPECT_THAT(Counts(), ElementsAre(2));
  for (const GatheredNotification& sent : {bob, eve}) {
    EXPECT_EQ(StateOf(sent), absl::StrCat("delivered|in item ", Items()[0].id.ToString(), "|t|f"));
  }
  EXPECT_EQ(WindowsThatWait(), "1");
}

TEST_F(GatheringTest, ChangesNothingWhenRepeatedNotEvenWithAHigherVersion) {
  GatheredNotification sent = Sent("bob", 1);
  EXPECT_THAT(Gather({sent, sent}).outcomes, ElementsAre(Gathered::kDone, Gathered::kNotOpen));
  Apply({Unlike("bob", 2)});
  sent.reaction.version = 3;
  const GatherResult again = Gather({sent});
  EXPECT_THAT(again.outcomes, ElementsAre(Gathered::kNotOpen));
  EXPECT_THAT(again.changes, IsEmpty());
  EXPECT_THAT(Items(), IsEmpty());
}

TEST_F(GatheringTest, SaysSoWhereTheActorHasTakenItBackSince) {
  const GatheredNotification sent = Sent("bob", 1);
  Apply({Unlike("bob", 2)});
  EXPECT_THAT(Gather({sent}).outcomes, ElementsAre(Gathered::kDone));
  EXPECT_EQ(StateOf(sent), "suppressed|its actor has taken it back|t|f");
  EXPECT_THAT(Items(), IsEmpty());
}

TEST_F(GatheringTest, NamesTheWindowWhereNoFeedShowsAnItem) {
  GatheredNotification sent = Sent("bob", 1);
  sent.reaction.shown = false;
  Gather({sent});
  EXPECT_EQ(StateOf(sent), absl::StrCat("delivered|in window ", Waiting().id.ToString(), "|t|f"));
}

TEST_F(GatheringTest, TakesNothingFromSomebodyElseWhoIsToldOfTheSame) {
  const GatheredNotification to_ann = Sent("bob", 1), to_ben = Sent("bob", 2, "ben");
  Gather({to_ann});
  EXPECT_THAT(Gather({to_ben}).outcomes, ElementsAre(Gathered::kElsewhere));
  EXPECT_EQ(StateOf(to_ben), "accepted|f|f") << "it is to be told by itself";
  EXPECT_THAT(Counts(), ElementsAre(1));
  // When she has lost it, he may be told.
  Apply({Unlike("bob", 3)});
  GatheredNotification later = Sent("bob", 4, "ben");
  EXPECT_THAT(Gather({later}).outcomes, ElementsAre(Gathered::kDone));
}

TEST_F(GatheringTest, TellsOneOfSeveralWhoAreToBeToldAtOnce) {
  const GatheredNotification to_ann = Sent("bob", 1), to_ben = Sent("bob", 2, "ben"), again = Sent("bob", 3);
  EXPECT_THAT(Gather({to_ann, to_ben, again}).outcomes,
              ElementsAre(Gathered::kDone, Gathered::kElsewhere, Gathered::kDone));
  EXPECT_THAT(Counts(), ElementsAre(1));
}

TEST_F(GatheringTest, EndsWhatWasDecidedOtherwiseAndCountsNobody) {
  GatheredNotification suppressed = Sent("bob", 1), expired = Sent("eve", 2);
  suppressed.state = State::kSuppressed;
  suppressed.detail = "muted";
  suppressed.trail = TrailEntry{.time = now_, .decision = {.outcome = Outcome::kSuppress, .until = {}, .rules = {}}};
  expired.state = State::kExpired;
  expired.detail = "too late";
  EXPECT_THAT(Gather({suppressed, expired}).outcomes, Each(Gathered::kDone));
  EXPECT_EQ(StateOf(suppressed), "suppressed|muted|t|t");
  EXPECT_EQ(StateOf(expired), "expired|too late|t|f");
  EXPECT_THAT(Items(), IsEmpty());
  EXPECT_EQ(WindowsThatWait(), "0");
}

TEST_F(GatheringTest, DoesNothingForWhatIsNotInTheStore) {
  GatheredNotification unknown = Sent("bob", 1);
  unknown.id = NewUuid7(absl::Now());
  EXPECT_THAT(Gather({unknown}).outcomes, ElementsAre(Gathered::kNotOpen));
  EXPECT_THAT(Items(), IsEmpty());
}

TEST_F(GatheringTest, CountsFiftySendersToTheUnitHoweverOftenTheirMessagesCome) {
  std::atomic<int64_t> version = 0;
  RunThreads(50, [&](int sender) {
    std::vector<GatheredNotification> sent;
    for (int i = 0; i < 4; ++i) {
      // Each actor is of two senders.
      sent.push_back(Sent(absl::StrCat("actor-", sender / 2, "-", i), ++version));
    }
    for (int times = 0; times < 3; ++times) ASSERT_OK(store_.Gather(sent, Render));
  });
  EXPECT_THAT(Counts(), ElementsAre(100));
  EXPECT_EQ(OfApp("SELECT count(*) FROM notifications", " AND state = 'delivered'"), "200");
  EXPECT_THAT(End(Waiting()), SizeIs(1));
}

}  // namespace
}  // namespace carillon::testing
