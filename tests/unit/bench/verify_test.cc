#include "client/bench/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

Findings Compare(const std::vector<std::string>& accepted_ids, const std::vector<SeenItem>& items,
                 const std::vector<SeqRange>& skipped = {}) {
  Findings findings;
  CompareItems("feed of alice", accepted_ids, items, skipped, findings);
  return findings;
}

TEST(CompareItems, FindsNothingWhereEachAcceptedIdIsThereOnce) {
  EXPECT_TRUE(Compare({"a", "b", "c"}, {{"b", 1}, {"a", 2}, {"c", 3}}).clean());
  EXPECT_TRUE(Compare({}, {}).clean());
}

TEST(CompareItems, TellsWhichAcceptedIdsAreLost) {
  const Findings findings = Compare({"a", "b"}, {{"b", 1}});
  EXPECT_EQ(findings.lost, 1);
  EXPECT_THAT(findings.lost_ids, ElementsAre("a"));
  EXPECT_THAT(findings.examples, ElementsAre("feed of alice: a is missing"));
  EXPECT_EQ(findings.gaps, 0);
}

TEST(CompareItems, CountsAnItemThatIsThereTwiceAsDuplicate) {
  const Findings findings = Compare({"a"}, {{"a", 1}, {"a", 2}});
  EXPECT_EQ(findings.duplicates, 1);
  EXPECT_EQ(findings.lost + findings.unexpected + findings.gaps + findings.disorder, 0);
}

TEST(CompareItems, CountsAnItemThatWasNeverAcceptedAsUnexpected) {
  const Findings findings = Compare({"a"}, {{"a", 1}, {"second-notification-of-one-key", 2}});
  EXPECT_EQ(findings.unexpected, 1);
  EXPECT_EQ(findings.duplicates, 0);
}

TEST(CompareItems, MissesAnItemWhereTwoSendsWereAnsweredWithOneId) {
  EXPECT_EQ(Compare({"a", "a"}, {{"a", 1}}).lost, 1);
}

TEST(CompareItems, CountsEachPlaceWhereNumbersAreLeftOut) {
  const Findings findings = Compare({"a", "b", "c"}, {{"a", 2}, {"b", 3}, {"c", 7}});
  EXPECT_EQ(findings.gaps, 2);
  EXPECT_THAT(findings.examples, ElementsAre(HasSubstr("numbers 1 to 1 are left out"), HasSubstr("numbers 4 to 6")));
}

TEST(CompareItems, CountsNumbersThatDoNotRiseAsDisorder) {
  const Findings findings = Compare({"a", "b", "c"}, {{"a", 1}, {"c", 3}, {"b", 2}});
  EXPECT_EQ(findings.disorder, 1);
  EXPECT_EQ(findings.gaps, 1);
}

TEST(CompareItems, AllowsGapsThatTheServerAnnounced) {
  EXPECT_TRUE(Compare({"a", "b"}, {{"a", 1}, {"b", 5}}, {{2, 4}}).clean());
  EXPECT_TRUE(Compare({"b"}, {{"b", 4}}, {{1, 3}}).clean());
  EXPECT_EQ(Compare({"a", "b"}, {{"a", 1}, {"b", 6}}, {{2, 4}}).gaps, 1);
}

TEST(CompareItems, KeepsOnlyTheFirstExamplesButAllLostIds) {
  std::vector<std::string> accepted_ids;
  for (int i = 0; i < 100; ++i) accepted_ids.push_back(std::to_string(i));
  const Findings findings = Compare(accepted_ids, {});
  EXPECT_EQ(findings.lost, 100);
  EXPECT_THAT(findings.lost_ids, SizeIs(100));
  EXPECT_THAT(findings.examples, SizeIs(20));
}

TEST(OutsideOf, LeavesOutWhatTheFeedHasWithinTheSkippedNumbers) {
  const std::vector<SeqRange> skipped = {{2, 3}};
  const std::vector<std::string> accepted_ids = {"a", "b", "c", "d", "lost"};
  const std::vector<SeenItem> feed_items = {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}};
  EXPECT_THAT(OutsideOf(skipped, accepted_ids, feed_items), ElementsAre("a", "d", "lost"));
}

TEST(CountersMatch, WantsUnreadAndLastSeqToEqualTheItems) {
  EXPECT_TRUE(CountersMatch({.unread = 3, .last_seq = 3}, 3));
  EXPECT_FALSE(CountersMatch({.unread = 2, .last_seq = 3}, 3));
  EXPECT_FALSE(CountersMatch({.unread = 3, .last_seq = 4}, 3));
}

}  // namespace
}  // namespace carillon::bench
