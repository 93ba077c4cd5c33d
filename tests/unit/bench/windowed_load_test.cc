#include "client/bench/windowed_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/wait_for.h"

namespace carillon::bench {
namespace {

using ::carillon::testing::WaitFor;
using ::testing::ElementsAre;
using ::testing::Pair;

TEST(WindowedLoad, NeverHasMoreOnItsWayThanTheWindow) {
  std::atomic<int64_t> begun = 0, arrived = 0, most = 0;
  WindowedLoad load(
      {.window = 30, .per_call = 10},
      [&](RawSender::Done done) {
        begun += 10;
        most = std::max<int64_t>(most, begun - arrived);
        done(absl::OkStatus(), "");
      },
      [&] { return arrived.load(); });
  ASSERT_TRUE(WaitFor([&] { return begun == 30; }));
  arrived = 10;
  ASSERT_TRUE(WaitFor([&] { return begun == 40; }));
  // Not enough for another call.
  arrived = 19;
  load.Stop();
  EXPECT_EQ(begun, 40);
  EXPECT_EQ(most, 30);
  EXPECT_EQ(load.accepted(), 40);
  EXPECT_TRUE(load.errors().empty());
}

TEST(WindowedLoad, CountsFromWhatHadArrivedBefore) {
  std::atomic<int64_t> begun = 0;
  WindowedLoad load(
      {.window = 10, .per_call = 10},
      [&](RawSender::Done done) {
        begun += 10;
        done(absl::OkStatus(), "");
      },
      [] { return 1'000; });
  ASSERT_TRUE(WaitFor([&] { return begun == 10; }));
  load.Stop();
  EXPECT_EQ(begun, 10);
}

TEST(WindowedLoad, GivesUpOnAServerThatRefusesEverything) {
  std::atomic<int64_t> calls = 0;
  WindowedLoad load(
      {.window = 10, .per_call = 10},
      [&](RawSender::Done done) {
        ++calls;
        done(absl::UnavailableError("away"), "");
      },
      [] { return 0; });
  ASSERT_TRUE(WaitFor([&] { return calls == 100; }));
  load.Stop();
  EXPECT_EQ(calls, 100);
  EXPECT_EQ(load.accepted(), 0);
  EXPECT_THAT(load.errors(), ElementsAre(Pair("UNAVAILABLE", 100)));
}

}  // namespace
}  // namespace carillon::bench
