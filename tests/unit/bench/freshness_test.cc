#include "client/bench/freshness.h"

#include <gtest/gtest.h>

namespace carillon::bench {
namespace {

TEST(Freshness, IsMeasuredByTheOldestItemThatAReadLacks) {
  Freshness freshness;
  freshness.Seen(1, absl::Seconds(1));
  freshness.Seen(2, absl::Seconds(2));
  freshness.Seen(3, absl::Seconds(3));
  EXPECT_EQ(freshness.StalenessOf(/*last_seq=*/3, absl::Seconds(9)), absl::ZeroDuration());
  EXPECT_EQ(freshness.StalenessOf(2, absl::Seconds(9)), absl::Seconds(6));
  EXPECT_EQ(freshness.StalenessOf(0, absl::Seconds(9)), absl::Seconds(8));
}

TEST(Freshness, DoesNotBlameAReadThatBeganBeforeTheItemWasSeen) {
  Freshness freshness;
  freshness.Seen(1, absl::Seconds(5));
  EXPECT_EQ(freshness.StalenessOf(0, absl::Seconds(4)), absl::ZeroDuration());
}

TEST(Freshness, AllowsReadsToBeAheadOfTheStream) {
  Freshness freshness;
  EXPECT_EQ(freshness.StalenessOf(7, absl::Seconds(4)), absl::ZeroDuration());
}

TEST(Freshness, CountsNumbersThatAreLeftOutAsSeenWithTheNext) {
  Freshness freshness;
  freshness.Seen(3, absl::Seconds(3));
  EXPECT_EQ(freshness.last_seq(), 3);
  EXPECT_EQ(freshness.StalenessOf(1, absl::Seconds(4)), absl::Seconds(1));
}

}  // namespace
}  // namespace carillon::bench
