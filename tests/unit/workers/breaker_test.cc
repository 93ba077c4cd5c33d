#include "workers/delivery/breaker.h"

#include <gtest/gtest.h>

#include "tests/kit/simulated_clock.h"

namespace carillon::testing {
namespace {

class BreakerTest : public ::testing::Test {
 protected:
  void Succeed(int times = 1) {
    for (int i = 0; i < times; ++i) breaker_.OnSuccess(clock_.Now());
  }
  bool Fail(int times = 1) {
    bool changed = false;
    for (int i = 0; i < times; ++i) changed = breaker_.OnFailure(clock_.Now(), "500 out of order");
    return changed;
  }
  // Waits until a probe is due and takes it.
  void Probe() {
    ASSERT_TRUE(breaker_.retry_time().has_value());
    clock_.Set(*breaker_.retry_time());
    ASSERT_TRUE(breaker_.Allow(clock_.Now()));
    ASSERT_EQ(breaker_.state(), BreakerState::kHalfOpen);
  }
  absl::Duration OpenFor() const { return *breaker_.retry_time() - clock_.Now(); }

  SimulatedClock clock_;
  Breaker breaker_;
};

TEST_F(BreakerTest, LetsCallsPassAtFirst) {
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker_.retry_time(), std::nullopt);
  EXPECT_TRUE(breaker_.WouldAllow(clock_.Now()));
  EXPECT_TRUE(breaker_.Allow(clock_.Now()));
  EXPECT_FALSE(breaker_.OnSuccess(clock_.Now()));
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
}

TEST_F(BreakerTest, OpensAfterFiveFailuresInARow) {
  EXPECT_FALSE(Fail(4));
  EXPECT_TRUE(breaker_.Allow(clock_.Now()));
  EXPECT_TRUE(Fail());
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_EQ(breaker_.error(), "500 out of order");
  EXPECT_FALSE(breaker_.misconfigured());
  EXPECT_EQ(OpenFor(), absl::Seconds(2));
  EXPECT_FALSE(breaker_.WouldAllow(clock_.Now()));
  EXPECT_FALSE(breaker_.Allow(clock_.Now()));
}

TEST_F(BreakerTest, CountsFailuresInARowAnewAfterASuccess) {
  for (int i = 0; i < 5; ++i) {
    Succeed(10);
    EXPECT_FALSE(Fail(4)) << i;
  }
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
}

TEST_F(BreakerTest, OpensWhenHalfOfTheLastCallsFailed) {
  for (int i = 0; i < 4; ++i) {
    Succeed();
    EXPECT_FALSE(Fail()) << i;
  }
  Succeed();
  EXPECT_TRUE(Fail()) << "five of ten";
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
}

TEST_F(BreakerTest, TakesFewCallsForNoShare) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(Fail(2));
    Succeed();
  }
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed) << "four of six";
}

TEST_F(BreakerTest, ForgetsCallsBeyondItsWindow) {
  Succeed(9);
  for (int i = 0; i < 9; ++i) {
    EXPECT_FALSE(Fail()) << i;
    Succeed(2);
  }
  // The last twenty: a third of them failed, however many did in all.
  for (int i = 0; i < 30; ++i) {
    EXPECT_FALSE(Fail()) << i;
    Succeed(2);
  }
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
}

TEST_F(BreakerTest, LetsOneProbeThroughWhenItsTimeHasCome) {
  Fail(5);
  clock_.Advance(absl::Seconds(2) - absl::Nanoseconds(1));
  EXPECT_FALSE(breaker_.Allow(clock_.Now()));
  clock_.Advance(absl::Nanoseconds(1));
  EXPECT_TRUE(breaker_.WouldAllow(clock_.Now()));
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen) << "asking changes nothing";
  EXPECT_TRUE(breaker_.Allow(clock_.Now()));
  EXPECT_EQ(breaker_.state(), BreakerState::kHalfOpen);
  EXPECT_FALSE(breaker_.WouldAllow(clock_.Now()));
  EXPECT_FALSE(breaker_.Allow(clock_.Now() + absl::Hours(1)));
}

TEST_F(BreakerTest, ClosesWhenItsProbeSucceedsAndForgetsWhatWas) {
  Fail(5);
  Probe();
  EXPECT_TRUE(breaker_.OnSuccess(clock_.Now()));
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker_.retry_time(), std::nullopt);
  EXPECT_EQ(breaker_.error(), "");
  EXPECT_FALSE(Fail(4)) << "the failures from before count no more";
  EXPECT_TRUE(Fail());
  EXPECT_EQ(OpenFor(), absl::Seconds(2)) << "nor does how long it was open";
}

TEST_F(BreakerTest, StaysOpenTwiceAsLongAfterEachProbeThatFailsUpToABound) {
  Fail(5);
  for (const int seconds : {4, 8, 16, 32, 60, 60}) {
    Probe();
    EXPECT_TRUE(Fail());
    EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
    EXPECT_EQ(OpenFor(), absl::Seconds(seconds));
  }
}

TEST_F(BreakerTest, HearsNothingFromCallsThatBeganBeforeItOpened) {
  Fail(5);
  const absl::Time retry_time = *breaker_.retry_time();
  EXPECT_FALSE(breaker_.OnSuccess(clock_.Now()));
  EXPECT_FALSE(Fail(3));
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_EQ(*breaker_.retry_time(), retry_time);
}

TEST_F(BreakerTest, OpensAtOnceForLongWhereSomeoneHasToMendIt) {
  EXPECT_TRUE(breaker_.OnMisconfigured(clock_.Now(), "401 wrong key"));
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_TRUE(breaker_.misconfigured());
  EXPECT_EQ(breaker_.error(), "401 wrong key");
  EXPECT_EQ(OpenFor(), absl::Seconds(30));
  Probe();
  EXPECT_TRUE(breaker_.OnMisconfigured(clock_.Now(), "401 wrong key"));
  EXPECT_EQ(OpenFor(), absl::Seconds(30));
  Probe();
  EXPECT_TRUE(breaker_.OnSuccess(clock_.Now()));
  EXPECT_FALSE(breaker_.misconfigured());
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
}

TEST_F(BreakerTest, OpensForAsLongAsTheProviderAsks) {
  EXPECT_TRUE(breaker_.OnRetryAfter(clock_.Now(), absl::Seconds(90), "429 slow down"));
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_EQ(OpenFor(), absl::Seconds(90));
  EXPECT_FALSE(breaker_.OnRetryAfter(clock_.Now(), absl::Seconds(10), "429 slow down")) << "it is open for longer";
  EXPECT_EQ(OpenFor(), absl::Seconds(90));
  EXPECT_TRUE(breaker_.OnRetryAfter(clock_.Now(), absl::Seconds(120), "429 slow down"));
  EXPECT_EQ(OpenFor(), absl::Seconds(120));
}

TEST_F(BreakerTest, BoundsWhatTheProviderAsks) {
  breaker_.OnRetryAfter(clock_.Now(), absl::ZeroDuration(), "");
  EXPECT_EQ(OpenFor(), absl::Seconds(1));
  breaker_.OnRetryAfter(clock_.Now(), absl::Hours(24 * 365), "");
  EXPECT_EQ(OpenFor(), absl::Hours(1));
}

TEST_F(BreakerTest, ComesOutOfAProbeThatToldNothingWithAnotherOneDue) {
  Fail(5);
  Probe();
  breaker_.OnNothingLearned(clock_.Now());
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_TRUE(breaker_.Allow(clock_.Now()));
  EXPECT_EQ(breaker_.state(), BreakerState::kHalfOpen);
}

TEST_F(BreakerTest, LearnsNothingOutsideOfAProbe) {
  breaker_.OnNothingLearned(clock_.Now());
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  Fail(5);
  breaker_.OnNothingLearned(clock_.Now());
  EXPECT_FALSE(breaker_.WouldAllow(clock_.Now()));
}

TEST_F(BreakerTest, OpensWhenItIsTripped) {
  EXPECT_TRUE(breaker_.Trip(clock_.Now(), "retries are used up"));
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_EQ(OpenFor(), absl::Seconds(2));
  EXPECT_EQ(breaker_.error(), "retries are used up");
}

TEST_F(BreakerTest, IsRestoredAsOpenAndProbedWhenItsTimeHasCome) {
  for (const BreakerState was : {BreakerState::kOpen, BreakerState::kHalfOpen}) {
    Breaker breaker;
    breaker.Restore({.breaker = was,
                     .misconfigured = true,
                     .error = "401",
                     .since = clock_.Now() - absl::Minutes(1),
                     .retry_time = clock_.Now() + absl::Seconds(7)});
    EXPECT_EQ(breaker.state(), BreakerState::kOpen);
    EXPECT_TRUE(breaker.misconfigured());
    EXPECT_EQ(breaker.error(), "401");
    EXPECT_FALSE(breaker.WouldAllow(clock_.Now()));
    EXPECT_TRUE(breaker.Allow(clock_.Now() + absl::Seconds(7)));
    EXPECT_TRUE(breaker.OnSuccess(clock_.Now()));
    EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  }
}

TEST_F(BreakerTest, IsProbedAtOnceWhereNoTimeWasKept) {
  breaker_.Restore({.breaker = BreakerState::kOpen, .since = clock_.Now() - absl::Minutes(1)});
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_TRUE(breaker_.WouldAllow(clock_.Now()));
}

TEST_F(BreakerTest, StaysClosedWhereItWasClosed) {
  breaker_.Restore({.breaker = BreakerState::kClosed, .error = "old"});
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker_.error(), "");
}

}  // namespace
}  // namespace carillon::testing
