#include "client/carillon/timer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/synchronization/notification.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;

constexpr absl::Duration kLimit = absl::Seconds(10);

TEST(Timer, RunsTasksInTheOrderOfTheirTimes) {
  std::vector<int> order;
  absl::Notification done;
  Timer timer;
  timer.Schedule(absl::Milliseconds(600), [&] {
    order.push_back(3);
    done.Notify();
  });
  timer.Schedule(absl::Milliseconds(300), [&] { order.push_back(2); });
  timer.Schedule(absl::ZeroDuration(), [&] { order.push_back(1); });
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kLimit));
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(Timer, NeverRunsATaskEarly) {
  const absl::Duration begin = MonotonicNow();
  absl::Notification done;
  Timer timer;
  timer.Schedule(absl::Milliseconds(30), [&] { done.Notify(); });
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kLimit));
  EXPECT_GE(MonotonicNow() - begin, absl::Milliseconds(30));
}

TEST(Timer, NeverRunsWhatWasCancelled) {
  bool ran = false;
  absl::Notification go, done;
  Timer timer;
  // Nothing else runs before it was cancelled.
  timer.Schedule(absl::ZeroDuration(), [&] { go.WaitForNotification(); });
  const Timer::Id cancelled = timer.Schedule(absl::Milliseconds(300), [&] { ran = true; });
  timer.Schedule(absl::Milliseconds(400), [&] { done.Notify(); });
  EXPECT_TRUE(timer.Cancel(cancelled));
  EXPECT_FALSE(timer.Cancel(cancelled));
  go.Notify();
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kLimit));
  EXPECT_FALSE(ran);
}

TEST(Timer, LetsTasksScheduleTasks) {
  absl::Notification done;
  Timer timer;
  timer.Schedule(absl::ZeroDuration(), [&] { timer.Schedule(absl::ZeroDuration(), [&] { done.Notify(); }); });
  EXPECT_TRUE(done.WaitForNotificationWithTimeout(kLimit));
}

TEST(Timer, DropsWhatHasNotBegunWhenItIsDestroyed) {
  bool ran = false;
  {
    Timer().Schedule(absl::Hours(1), [&] { ran = true; });
  }
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace carillon
