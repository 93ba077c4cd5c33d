#include "client/bench/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon::bench {
namespace {

using ::testing::ElementsAre;

constexpr const char* kCounts = R"({
  "smtp": {"messages": 12, "distinct": 10, "duplicates": 2, "kept": 12},
  "sendgrid": {"messages": 3, "distinct": 3, "duplicates": 0, "kept": 3},
  "fcm": {"messages": 7, "distinct": 7, "duplicates": 0, "kept": 7}})";

TEST(SandboxCounts, AreAddedUpOverTheProvidersOfAChannel) {
  const absl::StatusOr<SandboxCounts> counts = ParseSandboxCounts(kCounts, SandboxProvidersOf(v1::CHANNEL_EMAIL));
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->messages, 15);
  EXPECT_EQ(counts->distinct, 13);
}

TEST(SandboxCounts, AreNotReadFromAnythingElse) {
  for (const char* answer : {"", "[]", "{", "{}", R"({"smtp": 1, "sendgrid": 2})"}) {
    EXPECT_EQ(ParseSandboxCounts(answer, SandboxProvidersOf(v1::CHANNEL_EMAIL)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << answer;
  }
}

TEST(SandboxProviders, EveryExternalChannelHasSome) {
  EXPECT_THAT(SandboxProvidersOf(v1::CHANNEL_SMS), ElementsAre("twilio", "vonage"));
  EXPECT_THAT(SandboxProvidersOf(v1::CHANNEL_APNS), ElementsAre("apns"));
  EXPECT_THAT(SandboxProvidersOf(v1::CHANNEL_FCM), ElementsAre("fcm"));
  EXPECT_THAT(SandboxProvidersOf(v1::CHANNEL_WEBHOOK), ElementsAre("webhook"));
}

TEST(Arrived, CountsWhatCameSinceAndNothingFromBefore) {
  const SandboxCounts before = {.messages = 100, .distinct = 90};
  const Arrived all = ArrivedOf(10, before, {.messages = 110, .distinct = 100});
  EXPECT_EQ(all.missing, 0);
  EXPECT_EQ(all.doubled, 0);
  const Arrived repeated = ArrivedOf(10, before, {.messages = 112, .distinct = 99});
  EXPECT_EQ(repeated.missing, 1);
  EXPECT_EQ(repeated.doubled, 3);
}

TEST(Arrived, OneThatTwoProvidersHaveIsDoubled) {
  const Arrived arrived = ArrivedOf(10, {}, {.messages = 11, .distinct = 11});
  EXPECT_EQ(arrived.missing, 0);
  EXPECT_EQ(arrived.doubled, 1);
}

TEST(Connections, AreCountedOnce) {
  const absl::StatusOr<int64_t> connections =
      CountConnections(R"({"messages": [{"connection": 4}, {"connection": 9}, {"connection": 4}]})");
  ASSERT_TRUE(connections.ok());
  EXPECT_EQ(*connections, 2);
  for (const char* answer : {"", "{}", R"({"messages": 3})"}) EXPECT_FALSE(CountConnections(answer).ok()) << answer;
}

}  // namespace
}  // namespace carillon::bench
