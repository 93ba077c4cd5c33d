// Rates on real Redis, by its own clock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/redis/redis_rates.h"
#include "tests/kit/private_redis.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Gt;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::Le;
using ::testing::Not;
using testing::PrivateRedis;
using testing::WaitFor;
using Limit = RateAnswer::Limit;

class RedisRatesTest : public ::testing::Test {
 protected:
  static RateRequest Request(const SendLimits& limits, int64_t places = 1, const std::string& sender = "ann") {
    return {.app = AppId(7), .limits = limits, .senders = {{.id = sender, .places = places}}};
  }
  std::vector<RateAnswer> Take(const std::vector<RateRequest>& requests) {
    const auto answers = rates_.Take(requests);
    EXPECT_OK(answers);
    return answers.ok() ? *answers : std::vector<RateAnswer>(requests.size());
  }
  RateAnswer Take(const RateRequest& request) { return Take(std::vector<RateRequest>{request}).front(); }
  int64_t Number(const std::vector<std::string>& command) {
    int64_t number = -100;
    EXPECT_TRUE(absl::SimpleAtoi(redis_.Run(command), &number));
    return number;
  }

  PrivateRedis redis_;
  // In these tests a machine that stands still is no outage.
  RedisRates rates_{{.url = redis_.url(), .connect_timeout = absl::Seconds(30), .command_timeout = absl::Seconds(30)}};
};

// One place comes in an hour: however long the machine stands still, none comes here.
TEST_F(RedisRatesTest, LetsExactlyABurstIn) {
  // The rate that has no shorter time between two places than this test takes.
  const RateRequest request = Request({.app_rate = 1, .app_burst = 86'400}, 86'400 / 5);
  std::vector<RateAnswer> answers = Take(std::vector<RateRequest>(6, request));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(answers[i].refused_by, Limit::kNone) << i;
  EXPECT_EQ(answers[5].refused_by, Limit::kApp);
  EXPECT_THAT(answers[5].wait, AllOf(Gt(absl::Hours(4)), Le(absl::Seconds(86'400 / 5))));
}

TEST_F(RedisRatesTest, GivesPlacesBackAtTheRateOfItsOwnClock) {
  const RateRequest request = Request({.sender_rate = 1000, .sender_burst = 86'400'000}, 86'400'000);
  ASSERT_EQ(Take(request).refused_by, Limit::kNone);
  const RateAnswer first = Take(request);
  ASSERT_EQ(first.refused_by, Limit::kSender);
  // By Redis' clock before and after: what has come back lies between.
  const auto time = [&] {
    const std::string text =
        redis_.Run({"EVAL", "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)", "0"});
    int64_t milliseconds = 0;
    EXPECT_TRUE(absl::SimpleAtoi(text, &milliseconds)) << text;
    return milliseconds;
  };
  const int64_t before = time();
  const RateAnswer one = Take(request);
  const int64_t between = time();
  ASSERT_TRUE(WaitFor([&] { return time() > between + 100; }));
  const int64_t later = time();
  const RateAnswer other = Take(request);
  const int64_t after = time();
  const int64_t less_ms = absl::ToInt64Milliseconds(one.wait - other.wait);
  EXPECT_THAT(less_ms, AllOf(Ge(later - between - 1), Le(after - before + 1)));
}

TEST_F(RedisRatesTest, IsExactAtAMillionPlacesASecond) {
  // Of each call 7 µs, which no single number of this size could tell from 7.25.
  const RateRequest request = Request({.app_rate = 1'000'000, .app_burst = 1'000'000'000}, 7);
  ASSERT_EQ(Take(Request(request.limits, 900'000'000)).refused_by, Limit::kNone);
  const std::string key = "carillon:rate:7";
  const auto moment = [&] {
    double seconds = 0;
    const std::string text = redis_.Run({"GET", key});
    EXPECT_TRUE(absl::SimpleAtod(text.substr(text.find('.') - 7), &seconds)) << text;
    return seconds;
  };
  const double begin = moment();
  for (const RateAnswer& answer : Take(std::vector<RateRequest>(1000, request))) {
    ASSERT_EQ(answer.refused_by, Limit::kNone);
  }
  EXPECT_NEAR(moment() - begin, 0.007, 1e-7);
}

TEST_F(RedisRatesTest, TakesPlacesOfAllRatesOrOfNone) {
  const SendLimits limits{.app_rate = 1, .app_burst = 80'000, .sender_rate = 1, .sender_burst = 50'000};
  RateRequest both = Request(limits, 40'000, "ann");
  both.senders.push_back({.id = "bob", .places = 50'001});
  const RateAnswer never = Take(both);
  EXPECT_EQ(never.wait, absl::InfiniteDuration());
  EXPECT_EQ(redis_.Run({"KEYS", "*"}), "");
  EXPECT_EQ(Take(Request(limits, 50'000, "ann")).refused_by, Limit::kNone);
  const RateAnswer app = Take(Request(limits, 40'000, "bob"));
  EXPECT_EQ(app.refused_by, Limit::kApp);
  EXPECT_EQ(Take(Request(limits, 10'000, "ann")).refused_by, Limit::kSender);
  EXPECT_EQ(Take(Request(limits, 30'000, "bob")).refused_by, Limit::kNone);
}

TEST_F(RedisRatesTest, LetsNoMoreInThanTheBurstHoweverManyAsk) {
  const RateRequest request = Request({.app_rate = 1, .app_burst = 86'400}, 1'000);
  std::atomic<int> let_in = 0;
  std::vector<std::thread> servers;
  for (int i = 0; i < 4; ++i) {
    servers.emplace_back([&] {
      RedisRates rates(
          {.url = redis_.url(), .connect_timeout = absl::Seconds(30), .command_timeout = absl::Seconds(30)});
      for (int round = 0; round < 10; ++round) {
        const auto answers = rates.Take(std::vector<RateRequest>(4, request));
        ASSERT_OK(answers);
        for (const RateAnswer& answer : *answers) let_in += answer.refused_by == Limit::kNone ? 1 : 0;
      }
    });
  }
  for (std::thread& server : servers) server.join();
  EXPECT_EQ(let_in, 86);
}

TEST_F(RedisRatesTest, CountsTheMinutesOfSenders) {
  const SendLimits limits{.runaway_per_minute = 10};
  RateRequest both = Request(limits, 4, "ann");
  both.senders.push_back({.id = "", .places = 1});
  EXPECT_THAT(Take(both).counts, ElementsAre(4, 1));
  EXPECT_THAT(Number({"PTTL", "carillon:sent:7:ann"}), AllOf(Gt(0), Le(60'000)));
  EXPECT_THAT(Take(both).counts, ElementsAre(8, 2));
  EXPECT_THAT(Number({"PTTL", "carillon:sent:7:"}), AllOf(Gt(0), Le(60'000)));
  EXPECT_THAT(Take(both).counts, ElementsAre(12, 3));
  EXPECT_THAT(Take(both).counts, ElementsAre(4, 4));
  EXPECT_THAT(Take(Request({.app_rate = 5})).counts, IsEmpty());
}

TEST_F(RedisRatesTest, KeepsNothingForLongerThanItMatters) {
  Take(Request({.app_rate = 10, .app_burst = 100, .sender_rate = 1, .sender_burst = 50}, 20));
  EXPECT_THAT(Number({"PTTL", "carillon:rate:7"}), AllOf(Gt(0), Le(2'000)));
  EXPECT_THAT(Number({"PTTL", "carillon:rate:7:ann"}), AllOf(Gt(2'000), Le(20'000)));
}

TEST_F(RedisRatesTest, GoesOnWhenRedisHasForgottenTheScript) {
  const RateRequest request = Request({.app_rate = 1, .app_burst = 86'400}, 30'000);
  const std::vector<RateRequest> three(3, request);
  EXPECT_EQ(Take(three)[1].refused_by, Limit::kNone);
  redis_.Run({"SCRIPT", "FLUSH"});
  EXPECT_EQ(Take(request).refused_by, Limit::kApp);
  redis_.Run({"SCRIPT", "FLUSH"});
  for (const RateAnswer& answer : Take(three)) EXPECT_EQ(answer.refused_by, Limit::kApp);
}

TEST_F(RedisRatesTest, FailsInTimeWhileRedisIsAwayAndComesBack) {
  RedisRates hasty(
      {.url = redis_.url(), .connect_timeout = absl::Milliseconds(50), .command_timeout = absl::Milliseconds(50)});
  const RateRequest request = Request({.app_rate = 1});
  ASSERT_TRUE(WaitFor([&] { return hasty.Take({&request, 1}).ok(); }));
  redis_.Freeze();
  EXPECT_THAT(hasty.Take({&request, 1}), Not(IsOk()));
  redis_.Thaw();
  EXPECT_TRUE(WaitFor([&] { return hasty.Take({&request, 1}).ok(); }));
  redis_.Kill();
  EXPECT_THAT(hasty.Take({&request, 1}), Not(IsOk()));
  redis_.Start();
  EXPECT_TRUE(WaitFor([&] { return hasty.Take({&request, 1}).ok(); }));
}

}  // namespace
}  // namespace carillon
