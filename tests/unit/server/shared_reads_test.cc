#include "server/feed/shared_reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::IsOkAndHolds;
using testing::SimulatedClock;
using testing::StatusIs;
using testing::WaitFor;

// A number that is written and read. A read gives what it was when the read began,
// and can be held back. Thread-safe.
class Register {
 public:
  void Write(int value) {
    absl::MutexLock lock(&mutex_);
    value_ = value;
  }
  void Increment() {
    absl::MutexLock lock(&mutex_);
    ++value_;
  }
  int value() const {
    absl::MutexLock lock(&mutex_);
    return value_;
  }
  void SetFailure(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    failure_ = std::move(status);
  }
  void SetBlocked(bool blocked) {
    absl::MutexLock lock(&mutex_);
    blocked_ = blocked;
  }
  int reads() const {
    absl::MutexLock lock(&mutex_);
    return reads_;
  }

  absl::StatusOr<std::string> Read() {
    absl::MutexLock lock(&mutex_);
    ++reads_;
    const int value = value_;
    const absl::Status failure = failure_;
    const auto unblocked = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !blocked_; };
    mutex_.Await(absl::Condition(&unblocked));
    if (!failure.ok()) return failure;
    return absl::StrCat(value);
  }

 private:
  mutable absl::Mutex mutex_;
  int value_ ABSL_GUARDED_BY(mutex_) = 0;
  int reads_ ABSL_GUARDED_BY(mutex_) = 0;
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

// What those who asked were told, in that order. Thread-safe; may be gone before
// the last of them is told.
class Answers {
 public:
  SharedReads::Waiter Waiter(bool gone = false) {
    return {.is_gone = [gone] { return gone; },
            .done =
                [told = told_](const absl::StatusOr<SharedBytes>& answer) {
                  absl::MutexLock lock(&told->mutex);
                  told->answers.push_back(answer.ok() ? absl::StatusOr<std::string>(**answer) : answer.status());
                }};
  }
  std::vector<absl::StatusOr<std::string>> all() const {
    absl::MutexLock lock(&told_->mutex);
    return told_->answers;
  }
  bool WaitForCount(size_t count) const {
    return WaitFor([&] { return all().size() == count; });
  }

 private:
  struct Told {
    absl::Mutex mutex;
    std::vector<absl::StatusOr<std::string>> answers ABSL_GUARDED_BY(mutex);
  };
  const std::shared_ptr<Told> told_ = std::make_shared<Told>();
};

class SharedReadsTest : public ::testing::Test {
 protected:
  void Start(SharedReads::Options options = {}, int threads = 2, size_t queue = 100) {
    executor_.emplace(threads, queue);
    reads_.emplace("test", options, *executor_, clock_, metrics_);
  }
  void StartKeeping(absl::Duration max_age) { Start({.max_age = max_age}); }
  void TearDown() override {
    register_.SetBlocked(false);
    executor_->Stop();
  }

  void Ask(Answers& answers, const std::string& key = "key", bool gone = false) {
    reads_->Ask(
        key, [this] { return register_.Read(); }, answers.Waiter(gone));
  }
  // Asks, and returns when the read has begun and is held back.
  void AskAndHold(Answers& answers, const std::string& key = "key") {
    register_.SetBlocked(true);
    const int before = register_.reads();
    Ask(answers, key);
    ASSERT_TRUE(WaitFor([&] { return register_.reads() == before + 1; }));
  }
  int AskAndWait(const std::string& key) {
    int value = -1;
    absl::Notification told;
    reads_->Ask(key, [this] { return register_.Read(); },
                {.is_gone = [] { return false; },
                 .done =
                     [&](const absl::StatusOr<SharedBytes>& answer) {
                       if (answer.ok() && !absl::SimpleAtoi(**answer, &value)) value = -1;
                       told.Notify();
                     }});
    told.WaitForNotification();
    return value;
  }
  double Reads(const std::string& source) {
    return metrics_.Counter("carillon_feed_reads_total", "", {{"feed", "test"}, {"source", source}}).Value();
  }
  double Queries() { return metrics_.Counter("carillon_feed_queries_total", "", {{"feed", "test"}}).Value(); }

  Register register_;
  SimulatedClock clock_;
  Metrics metrics_;
  std::optional<SharedReads> reads_;
  // Stopped before what its tasks use is gone.
  std::optional<Executor> executor_;
};

TEST_F(SharedReadsTest, AThousandAtOnceLookAtTheStoreTwice) {
  Start();
  Answers answers;
  AskAndHold(answers);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 250; ++n) Ask(answers);
    });
  }
  for (std::thread& thread : threads) thread.join();
  register_.SetBlocked(false);
  ASSERT_TRUE(answers.WaitForCount(1001));
  EXPECT_THAT(answers.all(), Each(IsOkAndHolds("0")));
  EXPECT_EQ(register_.reads(), 2);
  EXPECT_EQ(Queries(), 2);
  EXPECT_EQ(Reads("query"), 2);
  EXPECT_EQ(Reads("joined"), 999);
}

TEST_F(SharedReadsTest, WhoAsksAfterAWriteSeesIt) {
  Start();
  Answers before, after;
  AskAndHold(before);
  register_.Write(1);
  Ask(after);
  register_.SetBlocked(false);
  ASSERT_TRUE(before.WaitForCount(1));
  ASSERT_TRUE(after.WaitForCount(1));
  EXPECT_THAT(before.all(), ElementsAre(IsOkAndHolds("0")));
  EXPECT_THAT(after.all(), ElementsAre(IsOkAndHolds("1")));
}

TEST_F(SharedReadsTest, WhoAsksBeforeAReadBeginsJoinsIt) {
  Start({}, /*threads=*/1);
  Answers other, answers;
  AskAndHold(other, "other");
  for (int i = 0; i < 3; ++i) Ask(answers);
  register_.Write(1);
  Ask(answers);
  register_.SetBlocked(false);
  ASSERT_TRUE(answers.WaitForCount(4));
  EXPECT_THAT(answers.all(), Each(IsOkAndHolds("1")));
  EXPECT_EQ(register_.reads(), 2);
}

TEST_F(SharedReadsTest, KeysAreReadSideBySide) {
  Start();
  Answers first, second;
  AskAndHold(first, "first");
  register_.Write(1);
  AskAndHold(second, "second");
  register_.SetBlocked(false);
  ASSERT_TRUE(first.WaitForCount(1));
  ASSERT_TRUE(second.WaitForCount(1));
  EXPECT_THAT(first.all(), ElementsAre(IsOkAndHolds("0")));
  EXPECT_THAT(second.all(), ElementsAre(IsOkAndHolds("1")));
}

TEST_F(SharedReadsTest, NothingIsKeptWithoutAMaxAge) {
  Start();
  Answers answers;
  Ask(answers);
  ASSERT_TRUE(answers.WaitForCount(1));
  Ask(answers);
  ASSERT_TRUE(answers.WaitForCount(2));
  EXPECT_EQ(register_.reads(), 2);
}

TEST_F(SharedReadsTest, AnAnswerServesOthersUntilMaxAgeAfterItsReadBegan) {
  StartKeeping(absl::Milliseconds(300));
  Answers answers;
  AskAndHold(answers);
  clock_.Advance(absl::Milliseconds(200));
  register_.SetBlocked(false);
  ASSERT_TRUE(answers.WaitForCount(1));
  register_.Write(1);
  clock_.Advance(absl::Milliseconds(100));
  Ask(answers);
  clock_.Advance(absl::Milliseconds(1));
  Ask(answers);
  ASSERT_TRUE(answers.WaitForCount(3));
  EXPECT_THAT(answers.all(), ElementsAre(IsOkAndHolds("0"), IsOkAndHolds("0"), IsOkAndHolds("1")));
  EXPECT_EQ(Queries(), 2);
  EXPECT_EQ(Reads("cache"), 1);
}

TEST_F(SharedReadsTest, AKeptAnswerIsGivenAtOnce) {
  StartKeeping(absl::Seconds(1));
  Answers answers;
  Ask(answers);
  ASSERT_TRUE(answers.WaitForCount(1));
  executor_->Stop();
  Ask(answers);
  EXPECT_EQ(answers.all().size(), 2u);
}

TEST_F(SharedReadsTest, AnAnswerThatIsFreshWhenItArrivesServesThoseWhoWait) {
  StartKeeping(absl::Milliseconds(300));
  Answers answers;
  AskAndHold(answers);
  for (int i = 0; i < 10; ++i) Ask(answers);
  clock_.Advance(absl::Milliseconds(299));
  register_.SetBlocked(false);
  ASSERT_TRUE(answers.WaitForCount(11));
  EXPECT_EQ(register_.reads(), 1);
  EXPECT_EQ(Reads("joined"), 10);
}

TEST_F(SharedReadsTest, AnAnswerThatTookTooLongServesOnlyThoseWhoAskedBeforeItBegan) {
  StartKeeping(absl::Milliseconds(300));
  Answers early, late;
  AskAndHold(early);
  Ask(late);
  register_.Write(1);
  clock_.Advance(absl::Milliseconds(301));
  register_.SetBlocked(false);
  ASSERT_TRUE(early.WaitForCount(1));
  ASSERT_TRUE(late.WaitForCount(1));
  EXPECT_THAT(early.all(), ElementsAre(IsOkAndHolds("0")));
  EXPECT_THAT(late.all(), ElementsAre(IsOkAndHolds("1")));
}

TEST_F(SharedReadsTest, AFailureIsToldToAllWhoJoinedAndNotKept) {
  Start({.max_age = absl::Seconds(1)}, /*threads=*/1);
  Answers holding, joined, later;
  AskAndHold(holding, "other");
  Ask(joined);
  Ask(joined);
  register_.SetFailure(error::BackendUnavailable("postgresql", "away"));
  register_.SetBlocked(false);
  ASSERT_TRUE(joined.WaitForCount(2));
  EXPECT_THAT(joined.all(), Each(StatusIs(absl::StatusCode::kUnavailable)));
  register_.SetFailure(absl::OkStatus());
  Ask(later);
  ASSERT_TRUE(later.WaitForCount(1));
  EXPECT_THAT(later.all(), ElementsAre(IsOkAndHolds("0")));
}

TEST_F(SharedReadsTest, WhoIsGoneHurtsNobody) {
  Start();
  Answers holding, gone, here;
  AskAndHold(holding);
  Ask(gone, "key", /*gone=*/true);
  Ask(here);
  register_.SetBlocked(false);
  ASSERT_TRUE(here.WaitForCount(1));
  ASSERT_TRUE(gone.WaitForCount(1));
  EXPECT_THAT(here.all(), ElementsAre(IsOkAndHolds("0")));
}

TEST_F(SharedReadsTest, AReadThatNobodyWaitsForIsLeftOut) {
  Start();
  Answers holding, gone;
  AskAndHold(holding);
  for (int i = 0; i < 3; ++i) Ask(gone, "key", /*gone=*/true);
  register_.SetBlocked(false);
  ASSERT_TRUE(gone.WaitForCount(3));
  EXPECT_THAT(gone.all(), Each(StatusIs(absl::StatusCode::kDeadlineExceeded)));
  EXPECT_EQ(register_.reads(), 1);
  EXPECT_EQ(Queries(), 1);
}

TEST_F(SharedReadsTest, MoreWaitersThanMayBeAreRefused) {
  Start({.max_waiters = 3});
  Answers answers, refused;
  AskAndHold(answers);
  Ask(answers);
  Ask(answers);
  Ask(refused);
  EXPECT_THAT(refused.all(), ElementsAre(StatusIs(absl::StatusCode::kResourceExhausted)));
  register_.SetBlocked(false);
  ASSERT_TRUE(answers.WaitForCount(3));
  Ask(answers);
  ASSERT_TRUE(answers.WaitForCount(4));
  EXPECT_THAT(answers.all(), Each(IsOkAndHolds("0")));
}

TEST_F(SharedReadsTest, AFullExecutorRefusesTheFirstOfAKey) {
  Start({}, /*threads=*/1, /*queue=*/1);
  Answers answers, refused;
  AskAndHold(answers, "under way");
  Ask(answers, "queued");
  Ask(refused, "one too many");
  EXPECT_THAT(refused.all(), ElementsAre(StatusIs(absl::StatusCode::kResourceExhausted)));
  register_.SetBlocked(false);
  ASSERT_TRUE(answers.WaitForCount(2));
  Ask(answers, "one too many");
  ASSERT_TRUE(answers.WaitForCount(3));
  EXPECT_THAT(answers.all(), Each(IsOkAndHolds("0")));
}

TEST_F(SharedReadsTest, AFullExecutorRefusesThoseWhoWaitedForAnother) {
  Start({}, /*threads=*/1, /*queue=*/1);
  Answers answers, refused;
  AskAndHold(answers, "key");
  Ask(refused, "key");
  Ask(answers, "queued");
  register_.SetBlocked(false);
  ASSERT_TRUE(answers.WaitForCount(2));
  EXPECT_THAT(refused.all(), ElementsAre(StatusIs(absl::StatusCode::kResourceExhausted)));
  Ask(answers, "key");
  ASSERT_TRUE(answers.WaitForCount(3));
}

// Each thread writes, and must then read at least what was written before it asked.
TEST_F(SharedReadsTest, NobodyEverReadsWhatWasBeforeHisQuestion) {
  Start({}, /*threads=*/3);
  std::atomic<int> stale = 0;
  std::vector<std::thread> threads;
  for (uint32_t seed = 0; seed < 6; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int n = 0; n < 2000; ++n) {
        if (random() % 8 == 0) register_.Increment();
        const int expected = register_.value();
        if (AskAndWait(absl::StrCat("key ", random() % 2)) < expected) ++stale;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stale, 0);
  EXPECT_EQ(Queries() + Reads("joined"), 6 * 2000);
}

}  // namespace
}  // namespace carillon
