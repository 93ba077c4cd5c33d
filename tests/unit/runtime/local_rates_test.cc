#include "carillon/runtime/local_rates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Limit = RateAnswer::Limit;

class LocalRatesTest : public ::testing::Test {
 protected:
  static RateRequest Request(const SendLimits& limits, int64_t places = 1, const std::string& sender = "ann") {
    return {.app = AppId(7), .limits = limits, .senders = {{.id = sender, .places = places}}};
  }
  RateAnswer Take(const RateRequest& request) {
    const auto answers = rates_.Take({&request, 1});
    EXPECT_OK(answers);
    return answers.ok() && answers->size() == 1 ? answers->front() : RateAnswer{};
  }
  bool LetsIn(const RateRequest& request) { return Take(request).refused_by == Limit::kNone; }

  testing::SimulatedClock clock_;
  LocalRates rates_{1000, clock_};
};

TEST_F(LocalRatesTest, LetsABurstInAndThenTheRate) {
  const RateRequest request = Request({.app_rate = 3, .app_burst = 5});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(LetsIn(request)) << i;
  const RateAnswer refused = Take(request);
  EXPECT_EQ(refused.refused_by, Limit::kApp);
  EXPECT_NEAR(absl::ToDoubleSeconds(refused.wait), 1.0 / 3, 1e-6);
  for (int i = 0; i < 100; ++i) {
    clock_.Advance(absl::Seconds(1) / 3 + absl::Nanoseconds(1));
    EXPECT_TRUE(LetsIn(request)) << i;
    EXPECT_FALSE(LetsIn(request)) << i;
  }
}

TEST_F(LocalRatesTest, HasRoomWhenTheWaitIsOver) {
  const RateRequest request = Request({.sender_rate = 10}, 7);
  EXPECT_TRUE(LetsIn(request));
  const RateAnswer refused = Take(request);
  EXPECT_EQ(refused.refused_by, Limit::kSender);
  EXPECT_EQ(refused.wait, absl::Milliseconds(400));
  clock_.Advance(refused.wait - absl::Microseconds(1));
  EXPECT_FALSE(LetsIn(request));
  clock_.Advance(absl::Microseconds(1));
  EXPECT_TRUE(LetsIn(request));
}

TEST_F(LocalRatesTest, KeepsNoMoreRoomThanABurst) {
  const RateRequest request = Request({.app_rate = 2, .app_burst = 4});
  EXPECT_TRUE(LetsIn(request));
  clock_.Advance(absl::Hours(1));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(LetsIn(request)) << i;
  EXPECT_FALSE(LetsIn(request));
}

TEST_F(LocalRatesTest, TakesAllPlacesOrNone) {
  const SendLimits limits{.app_rate = 10, .sender_rate = 3};
  RateRequest both = Request(limits, 2, "ann");
  both.senders.push_back({.id = "bob", .places = 4});
  EXPECT_EQ(Take(both).refused_by, Limit::kSender);
  EXPECT_EQ(Take(both).wait, absl::InfiniteDuration());
  EXPECT_TRUE(LetsIn(Request(limits, 3, "ann")));
  EXPECT_TRUE(LetsIn(Request(limits, 3, "bob")));
  EXPECT_TRUE(LetsIn(Request(limits, 3, "")));
  EXPECT_EQ(Take(Request(limits, 2, "cyd")).refused_by, Limit::kApp);
  EXPECT_TRUE(LetsIn(Request(limits, 1, "cyd")));
}

TEST_F(LocalRatesTest, TellsSendersAndAppsApart) {
  const SendLimits limits{.sender_rate = 1};
  EXPECT_TRUE(LetsIn(Request(limits, 1, "ann")));
  EXPECT_FALSE(LetsIn(Request(limits, 1, "ann")));
  EXPECT_TRUE(LetsIn(Request(limits, 1, "bob")));
  EXPECT_TRUE(LetsIn(Request(limits, 1, "")));
  RateRequest other = Request(limits, 1, "ann");
  other.app = AppId(8);
  EXPECT_TRUE(LetsIn(other));
}

TEST_F(LocalRatesTest, CountsWhatASenderWantsInItsMinute) {
  const RateRequest request = Request({.sender_rate = 1, .runaway_per_minute = 3});
  EXPECT_THAT(Take(request).counts, ElementsAre(1));
  const RateAnswer refused = Take(request);
  EXPECT_EQ(refused.refused_by, Limit::kSender);
  EXPECT_THAT(refused.counts, ElementsAre(2));
  clock_.Advance(absl::Seconds(59));
  EXPECT_THAT(Take(request).counts, ElementsAre(3));
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(Take(request).counts, ElementsAre(1));
  EXPECT_THAT(Take(Request({.sender_rate = 1})).counts, IsEmpty());
}

TEST_F(LocalRatesTest, BeginsAMinuteAnewWhenTheRunawayLimitWasPassed) {
  const RateRequest request = Request({.runaway_per_minute = 5}, 3);
  EXPECT_THAT(Take(request).counts, ElementsAre(3));
  EXPECT_THAT(Take(request).counts, ElementsAre(6));
  EXPECT_THAT(Take(request).counts, ElementsAre(3));
}

TEST_F(LocalRatesTest, RemembersWhatSomebodyElseLetIn) {
  const RateRequest request = Request({.app_rate = 4, .runaway_per_minute = 100});
  for (int i = 0; i < 3; ++i) rates_.Note(request, {.refused_by = Limit::kNone});
  rates_.Note(request, {.refused_by = Limit::kApp, .wait = absl::Seconds(1)});
  EXPECT_THAT(Take(request).counts, ElementsAre(5));
  EXPECT_EQ(Take(request).refused_by, Limit::kApp);
}

TEST_F(LocalRatesTest, ForgetsWhatALimitThatWasChangedHadOwed) {
  const RateRequest slow = Request({.app_rate = 1, .app_burst = 1000}, 1000);
  EXPECT_TRUE(LetsIn(slow));
  const RateRequest quick = Request({.app_rate = 100});
  EXPECT_EQ(Take(quick).wait, absl::Milliseconds(10));
}

TEST_F(LocalRatesTest, RemembersNoMoreThanItMay) {
  LocalRates small(10, clock_);
  const SendLimits limits{.sender_rate = 1};
  const auto lets_in = [&](const std::string& sender) {
    const RateRequest request = Request(limits, 1, sender);
    return small.Take({&request, 1})->front().refused_by == Limit::kNone;
  };
  EXPECT_TRUE(lets_in("first"));
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(lets_in(absl::StrCat("sender-", i)));
  EXPECT_FALSE(lets_in("first"));
  EXPECT_TRUE(lets_in("one more"));
  EXPECT_FALSE(lets_in("first"));
  EXPECT_TRUE(lets_in("sender-0"));
}

}  // namespace
}  // namespace carillon
