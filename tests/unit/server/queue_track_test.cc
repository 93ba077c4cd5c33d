#include "server/pressure/queue_track.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/limits.h"

namespace carillon {
namespace {

using ::testing::DoubleNear;
using ::testing::Optional;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

absl::Time At(double seconds) { return kStart + absl::Seconds(seconds); }

class QueueTrackTest : public ::testing::Test {
 protected:
  void Look(double seconds, int64_t waiting, int64_t settled, std::optional<absl::Time> newest = {}) {
    track_.Add({.time = At(seconds), .waiting = waiting, .settled = settled, .items = settled, .newest_taken = newest});
  }
  double Age(double now) { return absl::ToDoubleSeconds(track_.OldestAge(At(now)).value_or(absl::Seconds(-1))); }

  QueueTrack track_;
};

TEST_F(QueueTrackTest, KnowsTheAgeOfWhatNobodyHasTaken) {
  Look(0, 0, 0);
  Look(5, 100, 0);
  Look(10, 150, 0);
  // The head came with the first of the hundred.
  EXPECT_THAT(Age(10), DoubleNear(10, 0.1));
  EXPECT_THAT(Age(60), DoubleNear(60, 0.1));
}

TEST_F(QueueTrackTest, TheHeadMovesOnWithWhatIsSettled) {
  Look(0, 0, 0);
  Look(10, 1000, 0);
  Look(20, 1000, 0);
  Look(30, 500, 500);
  // The 501st came in the middle of the first ten seconds.
  EXPECT_THAT(Age(30), DoubleNear(25, 0.1));
  Look(40, 200, 1000);
  // All of those are gone; what waits came after the look at 30 s.
  EXPECT_THAT(Age(40), DoubleNear(10, 0.2));
}

TEST_F(QueueTrackTest, WhatHasJustComeIsNew) {
  Look(0, 0, 70);
  Look(5, 1, 70);
  EXPECT_THAT(Age(5), DoubleNear(0, 0.01));
  Look(10, 1, 71);
  EXPECT_THAT(Age(10), DoubleNear(0, 0.01));
}

TEST_F(QueueTrackTest, NothingIsOldInAnEmptyQueue) {
  EXPECT_EQ(track_.OldestAge(At(0)), std::nullopt);
  Look(0, 10, 0);
  Look(5, 0, 10);
  EXPECT_EQ(track_.OldestAge(At(5)), std::nullopt);
}

TEST_F(QueueTrackTest, WhatWaitedBeforeTheFirstLookIsAsOldAsTheNewestThatWasTaken) {
  Look(0, 1000, 0, At(-300));
  Look(5, 1000, 0, At(-300));
  EXPECT_THAT(Age(5), DoubleNear(305, 0.1));
}

TEST_F(QueueTrackTest, AndAtLeastAsOldAsTheFirstLook) {
  Look(0, 1000, 0);
  Look(50, 1000, 0);
  EXPECT_THAT(Age(50), DoubleNear(50, 0.1));
}

TEST_F(QueueTrackTest, CountsFromAcceptanceWhileMuchFlows) {
  Look(0, 10, 0, At(-96));
  Look(5, 10, 5000, At(-95));
  EXPECT_LT(Age(5), 1);
  // The relay has begun to publish what had waited in the outbox.
  EXPECT_THAT(track_.AgeSinceAcceptance(At(5)), Optional(absl::Seconds(100)));
  Look(10, 1, 5001, At(-95));
  // A trickle says nothing of what waits.
  EXPECT_LT(*track_.AgeSinceAcceptance(At(10)), absl::Seconds(6));
  Look(15, 10, 10'000, At(-95));
  // Nor does what was taken, if nothing of it was just accepted.
  EXPECT_LT(*track_.AgeSinceAcceptance(At(15)), absl::Seconds(6));
}

TEST_F(QueueTrackTest, TellsRatesOfTheLastHalfMinute) {
  for (int second = 0; second <= 100; second += 5) Look(second, 10 * second, 20 * second);
  const QueueTrack::Rates rates = track_.rates();
  EXPECT_THAT(rates.out, DoubleNear(20, 0.01));
  EXPECT_THAT(rates.in, DoubleNear(30, 0.01));
  for (int second = 105; second <= 140; second += 5) Look(second, 1000, 2000);
  EXPECT_EQ(track_.rates().out, 0);
  EXPECT_EQ(track_.rates().in, 0);
}

TEST_F(QueueTrackTest, LooksInQuickSuccessionTakeNoRoom) {
  for (int i = 0; i < 10'000; ++i) Look(i, i, 0);
  const auto history = track_.History(kStart);
  EXPECT_EQ(history.size(), limits::kDepthSamples);
  EXPECT_EQ(history.back().second, 9999);
  EXPECT_GE(history[1].first - history[0].first, absl::Seconds(5));
  EXPECT_LE(history.back().first - history.front().first, absl::Seconds(5 * limits::kDepthSamples));
  EXPECT_EQ(track_.History(At(9990)).front().first, At(9990));
}

TEST_F(QueueTrackTest, APurgedQueueBeginsAnew) {
  Look(0, 0, 0);
  Look(5, 1000, 0);
  Look(10, 0, 0);
  Look(15, 4, 0);
  EXPECT_LT(Age(15), 5);
}

}  // namespace
}  // namespace carillon
