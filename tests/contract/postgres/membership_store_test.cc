#include "carillon/postgres/membership_store.h"

#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"
#include "carillon/postgres/feed_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class MembershipStoreTest : public PostgresTest {
 protected:
  static constexpr GroupKind kFollowers = GroupKind::kFollowers;
  static constexpr GroupKind kTopic = GroupKind::kTopic;

  std::vector<std::string> Members(const std::string& group, GroupKind kind = kFollowers) {
    return MembersOf(app_, group, kind);
  }
  std::vector<std::string> MembersOf(AppId app, const std::string& group, GroupKind kind = kFollowers) {
    absl::StatusOr<std::vector<std::string>> members = store_.List({app, kind, group}, "", 1'000'000);
    EXPECT_OK(members);
    return members.value_or(std::vector<std::string>());
  }
  std::string SinceOf(const std::string& member) {
    return Query(absl::StrCat("SELECT since_position FROM memberships WHERE app_id = ", app_.value(),
                              " AND member_id = '", member, "'"));
  }
  std::string HeadPositionOf(const std::string& member) {
    return Query(absl::StrCat("SELECT event_position FROM feed_heads WHERE app_id = ", app_.value(),
                              " AND recipient_id = '", member, "'"));
  }
  // An event told to the followers of a user, stored once for all of them.
  void StoreShared(int position, const std::string& followee, const std::string& title) {
    Query(absl::StrCat(
        "INSERT INTO events (event_id, app_id, created_at, finished_at, expires_at, position, retention_days, lane, "
        "state, audience, audience_id, type, item) VALUES ('",
        NewUuid7(absl::Now()).ToString(), "', ", app_.value(), ", now(), now(), now() + interval '7 days', ", position,
        ", 7, 'social', 'done', 'followers', '", followee, "', 'stream.start', '{\"title\": \"", title,
        "\"}'); INSERT INTO event_positions VALUES (", app_.value(), ", ", position,
        ") ON CONFLICT (app_id) DO UPDATE SET position = EXCLUDED.position"));
  }
  std::vector<std::string> TitlesOf(const std::string& recipient) {
    std::vector<std::string> titles;
    const auto items = feeds_.List({.key = {app_, RecipientId(recipient)}, .before_seq = {}});
    EXPECT_OK(items);
    if (!items.ok()) return {};
    for (const FeedItem& item : *items) titles.push_back(item.title);
    return titles;
  }

  const AppId app_ = NewApp();
  PostgresMembershipStore store_{MakePool(8)};
  PostgresFeedStore feeds_{MakePool(1)};
};

TEST_F(MembershipStoreTest, AddsEachOnceAndTellsHowManyAreNew) {
  EXPECT_THAT(store_.Add(app_, kFollowers, {{"cleo", "bob"}, {"cleo", "ann"}, {"cleo", "bob"}}), IsOkAndHolds(2));
  EXPECT_THAT(store_.Add(app_, kFollowers, {{"cleo", "bob"}, {"cleo", "dan"}}), IsOkAndHolds(1));
  EXPECT_THAT(Members("cleo"), ElementsAre("ann", "bob", "dan"));
}

TEST_F(MembershipStoreTest, KeepsAppsKindsAndGroupsApart) {
  const AppId other = NewApp();
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "ann"}}));
  ASSERT_OK(store_.Add(app_, kTopic, {{"cleo", "bob"}}));
  ASSERT_OK(store_.Add(other, kFollowers, {{"cleo", "dan"}}));
  EXPECT_THAT(Members("cleo"), ElementsAre("ann"));
  EXPECT_THAT(Members("cleo", kTopic), ElementsAre("bob"));
  EXPECT_THAT(MembersOf(other, "cleo"), ElementsAre("dan"));
  EXPECT_THAT(Members("nobody"), IsEmpty());
}

TEST_F(MembershipStoreTest, TakesIdsAsTheyAre) {
  const std::string odd = "a\"b\\c'{d},e ä€😀 NULL";
  ASSERT_OK(store_.Add(app_, kTopic, {{odd, odd}, {odd, "null"}, {odd, std::string(255, 'x')}}));
  EXPECT_THAT(Members(odd, kTopic), ElementsAre(odd, "null", std::string(255, 'x')));
  EXPECT_THAT(store_.Remove(app_, kTopic, {{odd, odd}}), IsOkAndHolds(1));
}

TEST_F(MembershipStoreTest, PagesInTheOrderOfBytes) {
  ASSERT_OK(
      store_.Add(app_, kFollowers, {{"cleo", "b"}, {"cleo", "ä"}, {"cleo", "B"}, {"cleo", "a-"}, {"cleo", "ab"}}));
  EXPECT_THAT(Members("cleo"), ElementsAre("B", "a-", "ab", "b", "ä"));
  EXPECT_THAT(store_.List({app_, kFollowers, "cleo"}, "a-", 2), IsOkAndHolds(ElementsAre("ab", "b")));
  EXPECT_THAT(store_.List({app_, kFollowers, "cleo"}, "ä", 2), IsOkAndHolds(IsEmpty()));
}

TEST_F(MembershipStoreTest, MakesAFeedForThoseWhoHaveNone) {
  AcceptOne(MakeNew(app_, "ann"));
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "ann"}}));
  EXPECT_EQ(HeadPositionOf("ann"), "0");
  StoreShared(7, "cleo", "live");
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "ann"}, {"cleo", "bob"}}));
  EXPECT_EQ(HeadPositionOf("ann"), "0") << "a feed that was there is moved by a touch only";
  EXPECT_EQ(HeadPositionOf("bob"), "7");
}

TEST_F(MembershipStoreTest, RemembersSinceWhenSomebodyIsAMember) {
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "ann"}}));
  EXPECT_EQ(SinceOf("ann"), "0");
  StoreShared(3, "cleo", "live");
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "bob"}, {"cleo", "ann"}}));
  EXPECT_EQ(SinceOf("bob"), "3");
  EXPECT_EQ(SinceOf("ann"), "0");
}

TEST_F(MembershipStoreTest, TellsANewMemberNothingFromBefore) {
  StoreShared(1, "cleo", "before");
  // With a feed that is behind already.
  ASSERT_OK(store_.Add(app_, kFollowers, {{"eve", "ann"}}));
  StoreShared(2, "cleo", "between");
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "ann"}}));
  StoreShared(3, "cleo", "after");
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("after"));
}

TEST_F(MembershipStoreTest, PutsWhatWasComingIntoTheFeedBeforeItRemoves) {
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "ann"}, {"cleo", "bob"}}));
  StoreShared(1, "cleo", "first");
  StoreShared(2, "cleo", "second");
  EXPECT_THAT(store_.Remove(app_, kFollowers, {{"cleo", "ann"}, {"cleo", "nobody"}}), IsOkAndHolds(1));
  EXPECT_THAT(Members("cleo"), ElementsAre("bob"));
  EXPECT_EQ(HeadPositionOf("ann"), "2");
  EXPECT_EQ(HeadPositionOf("bob"), "0");
  StoreShared(3, "cleo", "third");
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("second", "first"));
  EXPECT_THAT(TitlesOf("bob"), ElementsAre("third", "second", "first"));
}

TEST_F(MembershipStoreTest, RemovesEachOnceHoweverOftenItIsNamed) {
  ASSERT_OK(store_.Add(app_, kFollowers, {{"cleo", "ann"}, {"dan", "ann"}}));
  StoreShared(1, "cleo", "live");
  EXPECT_THAT(store_.Remove(app_, kFollowers, {{"cleo", "ann"}, {"dan", "ann"}, {"cleo", "ann"}}), IsOkAndHolds(2));
  EXPECT_THAT(store_.Remove(app_, kFollowers, {{"cleo", "ann"}}), IsOkAndHolds(0));
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("live"));
}

TEST_F(MembershipStoreTest, CountsEachOnceWhenManyAddTheSameAtOnce) {
  std::atomic<int> added = 0;
  RunThreads(8, [&](int thread) {
    for (int round = 0; round < 5; ++round) {
      std::vector<Membership> memberships;
      for (int i = 0; i < 200; ++i) {
        const int member = thread % 2 == 0 ? i : 199 - i;
        memberships.push_back({absl::StrCat("group", member % 3), absl::StrCat("member-", round, "-", member)});
      }
      const absl::StatusOr<int> result = store_.Add(app_, kFollowers, memberships);
      ASSERT_OK(result);
      added += *result;
    }
  });
  EXPECT_EQ(added, 1000);
  EXPECT_EQ(Members("group0").size() + Members("group1").size() + Members("group2").size(), 1000);
}

TEST_F(MembershipStoreTest, EndsInNoDeadlockWhenManyAddRemoveAndDeliver) {
  StoreShared(1, "group0", "live");
  RunThreads(8, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      std::vector<Membership> memberships;
      for (int i = 0; i < 50; ++i) {
        const int member = thread % 2 == 0 ? i : 49 - i;
        memberships.push_back({absl::StrCat("group", member % 2), absl::StrCat("member", member)});
      }
      if (thread % 4 == 3) {
        std::vector<NewNotification> items;
        for (const Membership& membership : memberships) items.push_back(MakeNew(app_, membership.member_id));
        AcceptAll(items);
        ASSERT_OK(PostgresFeedStore(MakePool(1)).Deliver(DeliveriesOf(items)));
      } else if (thread % 4 == 2) {
        ASSERT_OK(store_.Remove(app_, kFollowers, memberships));
      } else {
        ASSERT_OK(store_.Add(app_, kFollowers, memberships));
      }
    }
  });
  EXPECT_EQ(Query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
}

TEST_F(MembershipStoreTest, AddsTheLargestRequestInOneTransaction) {
  std::vector<Membership> memberships;
  for (int i = 0; i < limits::kMaxBatchSize; ++i) memberships.push_back({"cleo", absl::StrCat("member-", i)});
  EXPECT_THAT(store_.Add(app_, kFollowers, memberships), IsOkAndHolds(1000));
  EXPECT_THAT(store_.Remove(app_, kFollowers, memberships), IsOkAndHolds(1000));
  EXPECT_THAT(Members("cleo"), SizeIs(0));
}

}  // namespace
}  // namespace carillon::testing
