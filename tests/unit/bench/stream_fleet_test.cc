#include "client/bench/stream_fleet.h"

#include <gtest/gtest.h>

namespace carillon::bench {
namespace {

TEST(StreamTally, IsCleanForNumbersThatCountUp) {
  StreamTally tally{.last_seq = 4};
  for (const int64_t seq : {5, 6, 7}) tally.Count(seq);
  EXPECT_EQ(tally.items, 3);
  EXPECT_EQ(tally.gaps, 0);
  EXPECT_EQ(tally.disorder, 0);
}

TEST(StreamTally, CountsGapsAndWhatComesTwice) {
  StreamTally tally;
  for (const int64_t seq : {1, 3, 3, 2, 4}) tally.Count(seq);
  EXPECT_EQ(tally.items, 5);
  EXPECT_EQ(tally.gaps, 1);
  EXPECT_EQ(tally.disorder, 2);
  EXPECT_EQ(tally.last_seq, 4);
}

}  // namespace
}  // namespace carillon::bench
