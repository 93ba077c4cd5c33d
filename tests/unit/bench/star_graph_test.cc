#include "client/bench/star_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace carillon::bench {
namespace {

using ::testing::ElementsAre;

TEST(Star, HasTheSameNamesInEveryRun) {
  const Star first = StarOf(1'000'000);
  EXPECT_EQ(first.id, "bench-star-1000000");
  EXPECT_EQ(FollowerId(first, 1), "fan-1000000-000000001");
  const Star second = StarOf(1'000'000, 1);
  EXPECT_EQ(second.id, "bench-star-1000000-b");
  EXPECT_EQ(FollowerId(second, 1'000'000), "fan-1000000-b-001000000");
}

TEST(Star, NumbersItsFollowersInTheOrderOfTheirIds) {
  const Star star = StarOf(100'000'000);
  std::vector<std::string> ids;
  for (const int64_t number : {1, 9, 10, 99'999, 1'000'000, 100'000'000}) ids.push_back(FollowerId(star, number));
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
}

TEST(Star, GivesSomeFollowersInEvenSteps) {
  const Star star = StarOf(10);
  EXPECT_THAT(SomeFollowers(star, 2), ElementsAre(FollowerId(star, 1), FollowerId(star, 6)));
  EXPECT_THAT(SomeFollowers(star, 2, 0.5), ElementsAre(FollowerId(star, 3), FollowerId(star, 8)));
  EXPECT_EQ(SomeFollowers(star, 100).size(), 10);
  EXPECT_EQ(SomeFollowers(star, 100).back(), FollowerId(star, 10));
  EXPECT_TRUE(SomeFollowers(star, 0).empty());
}

TEST(Star, GivesOthersForAnotherShare) {
  const Star star = StarOf(1'000'000);
  const std::vector<std::string> online = SomeFollowers(star, 1'000);
  std::set<std::string> all(online.begin(), online.end());
  for (const std::string& id : SomeFollowers(star, 200, 0.5)) EXPECT_TRUE(all.insert(id).second) << id;
  EXPECT_EQ(all.size(), 1'200);
}

TEST(Told, IsCompleteIfNobodyIsMissingOrHasItTwice) {
  EXPECT_TRUE((Told{.once = 5}.complete()));
  EXPECT_FALSE((Told{.once = 4, .missing = 1}.complete()));
  EXPECT_FALSE((Told{.once = 4, .twice = 1}.complete()));
  EXPECT_FALSE((Told{.once = 5, .strangers = 1}.complete()));
}

}  // namespace
}  // namespace carillon::bench
