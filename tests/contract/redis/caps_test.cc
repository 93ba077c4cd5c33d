// Caps over real Redis. Its clock goes on while a test runs, so what is to be apart in
// time is so by the app's clock, which is ahead as far as a test says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/redis/redis_caps.h"
#include "carillon/runtime/cap_windows.h"
#include "tests/kit/cap_cases.h"
#include "tests/kit/private_redis.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::SizeIs;

constexpr auto kTake = CapStore::Mode::kTake;
constexpr auto kPeek = CapStore::Mode::kPeek;
// Longer than a machine stands still.
constexpr absl::Duration kPatience = absl::Seconds(10);
// As long as a case may take: the closest moments that matter are so far apart.
constexpr absl::Duration kCaseLimit = absl::Minutes(4);

class RedisCapsTest : public ::testing::Test {
 protected:
  // As every main() does.
  static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }

  std::vector<std::optional<CapUse>> Ask(const std::vector<CapStore::Request>& requests, CapStore::Mode mode = kTake) {
    return caps_.Use(requests, mode);
  }
  // Whether the member is let in, by a cap of one in an hour.
  std::optional<bool> LetsIn(const std::string& recipient, uint8_t member) {
    const auto answers = Ask({RequestOf(recipient, member, {CapOf(1, absl::Hours(1))})});
    return answers.at(0).has_value() ? std::optional<bool>(answers[0]->has_room) : std::nullopt;
  }
  // How long Redis will keep each key that it has, in milliseconds; below 0: for ever.
  std::vector<int64_t> TimesToLive() {
    std::vector<int64_t> times;
    for (const absl::string_view key : absl::StrSplit(redis_.Run({"KEYS", "*"}), '\n', absl::SkipWhitespace())) {
      EXPECT_TRUE(absl::SimpleAtoi(redis_.Run({"PTTL", std::string(key)}), &times.emplace_back())) << key;
    }
    return times;
  }

  PrivateRedis redis_;
  SimulatedClock clock_;
  RedisCaps caps_{{.url = redis_.url(), .connect_timeout = kPatience, .command_timeout = kPatience}, clock_};
};

TEST_F(RedisCapsTest, AnswerAsTheWindowsOfAProcessDo) {
  ExpectCapCases(clock_.Now(), kCaseLimit, [&](const CapStore::Request& request, CapStore::Mode mode) {
    const auto answers = Ask({request}, mode);
    EXPECT_TRUE(answers.at(0).has_value());
    return answers[0].value_or(CapUse());
  });
}

TEST_F(RedisCapsTest, AnswerManyInTheOrderAsked) {
  std::vector<CapStore::Request> requests;
  for (int i = 0; i < 300; ++i) {
    requests.push_back(RequestOf(absl::StrCat("user ", i), 1, {CapOf(1 + i, absl::Hours(1))}));
  }
  requests.push_back(RequestOf("user 0", 2, {CapOf(1, absl::Hours(1))}));
  const auto answers = Ask(requests);
  ASSERT_THAT(answers, SizeIs(301));
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(answers[i].has_value()) << i;
    EXPECT_EQ(answers[i]->cap.limit, 1 + i);
    EXPECT_TRUE(answers[i]->has_room) << i;
  }
  ASSERT_TRUE(answers[300].has_value());
  EXPECT_FALSE(answers[300]->has_room) << "the first of the same call has taken the place";
}

TEST_F(RedisCapsTest, LeaveNoKeyInRedisThatDoesNotExpire) {
  const std::vector<Cap> caps = {CapOf(1, absl::Hours(1)), CapOf(2, absl::Hours(3))};
  Ask({RequestOf("ann", 1, caps), RequestOf("bob", 1, caps)});
  Ask({RequestOf("ann", 2, caps), RequestOf("ann", 1, caps)});
  Ask({RequestOf("ann", 3, caps), RequestOf("cleo", 1, caps)}, kPeek);
  // The first place is over, and the second one is taken.
  Ask({RequestOf("ann", 4, caps, absl::Hours(2))});
  const std::vector<int64_t> times = TimesToLive();
  EXPECT_THAT(times, SizeIs(2)) << "who looks makes no key";
  EXPECT_THAT(times, Each(Gt(absl::ToInt64Milliseconds(absl::Hours(3) - kCaseLimit))));
  EXPECT_THAT(times, Each(::testing::Le(absl::ToInt64Milliseconds(absl::Hours(3)))));
}

TEST_F(RedisCapsTest, GiveRedisTheirScriptAgainWhenItHasForgottenIt) {
  EXPECT_EQ(LetsIn("ann", 1), true);
  EXPECT_EQ(redis_.Run({"SCRIPT", "FLUSH"}), "OK");
  EXPECT_THAT(Ask({RequestOf("ann", 1, {CapOf(1, absl::Hours(1))}), RequestOf("ann", 2, {CapOf(1, absl::Hours(1))})}),
              ElementsAre(::testing::Optional(::testing::Field(&CapUse::has_room, true)),
                          ::testing::Optional(::testing::Field(&CapUse::has_room, false))));
  EXPECT_EQ(LetsIn("ann", 1), true);
}

TEST_F(RedisCapsTest, BeginAnewWhenRedisComesBackWithNothing) {
  EXPECT_EQ(LetsIn("ann", 1), true);
  redis_.Kill();
  EXPECT_EQ(LetsIn("ann", 2), std::nullopt);
  redis_.Start();
  EXPECT_TRUE(WaitFor([&] { return LetsIn("bob", 1) == true; }));
  EXPECT_EQ(LetsIn("ann", 2), true);
}

TEST_F(RedisCapsTest, HaveNoAnswerForTheOneThatRedisRefuses) {
  redis_.Run({"SET", "carillon:cap:7:email:like:bob", "not a set"});
  const auto answers =
      Ask({RequestOf("ann", 1, {CapOf(1, absl::Hours(1))}), RequestOf("bob", 1, {CapOf(1, absl::Hours(1))}),
           RequestOf("cleo", 1, {CapOf(1, absl::Hours(1))})});
  EXPECT_TRUE(answers.at(0).has_value());
  EXPECT_FALSE(answers.at(1).has_value());
  EXPECT_TRUE(answers.at(2).has_value());
  EXPECT_EQ(LetsIn("ann", 2), false) << "and Redis is not given up for it";
}

TEST_F(RedisCapsTest, DoNotWaitForARedisThatStandsStill) {
  RedisCaps impatient({.url = redis_.url(), .command_timeout = absl::Milliseconds(100)}, clock_);
  const std::vector<CapStore::Request> requests = {RequestOf("ann", 1, {CapOf(1, absl::Hours(1))})};
  const auto is_answered = [&] { return impatient.Use(requests, kPeek).at(0).has_value(); };
  EXPECT_TRUE(WaitFor(is_answered));
  redis_.Freeze();
  EXPECT_FALSE(is_answered());
  redis_.Thaw();
  EXPECT_TRUE(WaitFor(is_answered));
}

TEST_F(RedisCapsTest, LetInAsManyAsTheLimitSaysWhoeverAsksAtOnce) {
  std::atomic<int> let_in = 0;
  std::vector<std::thread> threads;
  for (uint8_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      RedisCaps own({.url = redis_.url(), .connect_timeout = kPatience, .command_timeout = kPatience}, clock_);
      for (uint8_t n = 0; n < 20; ++n) {
        const std::vector<CapStore::Request> requests = {
            RequestOf("ann", static_cast<uint8_t>(t * 20 + n), {CapOf(10, absl::Hours(1))})};
        const auto answers = own.Use(requests, kTake);
        ASSERT_TRUE(answers.at(0).has_value());
        if (answers[0]->has_room) ++let_in;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(let_in, 10);
}

class AwayTest : public RedisCapsTest {
 protected:
  bool Use(const std::string& recipient, uint8_t member, CapStore::Mode mode = kTake) {
    const std::vector<CapStore::Request> requests = {RequestOf(recipient, member, {CapOf(2, absl::Hours(1))})};
    return windows_.Use(requests, mode).at(0).has_room;
  }

  std::atomic<size_t> local_ = 0;
  CapWindows windows_{caps_, clock_, {.on_local = [this](size_t count) { local_ += count; }}};
};

TEST_F(AwayTest, WindowsOfTheProcessStandInAndKnowWhatWasLetInBefore) {
  EXPECT_TRUE(Use("ann", 1));
  EXPECT_EQ(local_, 0u);
  redis_.Kill();
  EXPECT_TRUE(Use("ann", 1)) << "the same one";
  EXPECT_TRUE(Use("ann", 2));
  EXPECT_FALSE(Use("ann", 3));
  EXPECT_FALSE(Use("ann", 3, kPeek));
  EXPECT_TRUE(Use("bob", 3));
  EXPECT_EQ(local_, 5u);
  clock_.Advance(absl::Hours(1));
  EXPECT_TRUE(Use("ann", 3)) << "their windows end, too";
}

TEST_F(AwayTest, RedisIsAskedAgainWhenItIsBack) {
  redis_.Kill();
  EXPECT_TRUE(Use("ann", 1));
  redis_.Start();
  EXPECT_TRUE(WaitFor([&] {
    const size_t before = local_;
    Use("bob", 1, kPeek);
    return local_ == before;
  }));
  EXPECT_TRUE(Use("ann", 2));
  EXPECT_TRUE(Use("ann", 3)) << "Redis does not know what was let in without it";
  EXPECT_FALSE(Use("ann", 4));
}

}  // namespace
}  // namespace carillon::testing
