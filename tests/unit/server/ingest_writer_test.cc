#include "server/ingest/ingest_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::testing::Contains;
using ::testing::Each;
using testing::IsOk;
using ::testing::Le;
using testing::StatusIs;

// Accepts all but notifications of type "bad"; can be held, and can be away.
class FakeStore final : public NotificationStore {
 public:
  absl::StatusOr<std::vector<AcceptOutcome>> Accept(absl::Span<const NewNotification> items, bool) override {
    if (hold_.load() || hold_next_.exchange(false)) released_.WaitForNotification();
    absl::MutexLock lock(&mutex_);
    group_sizes_.push_back(items.size());
    if (away_) return error::BackendUnavailable("postgresql", "away");
    std::vector<AcceptOutcome> outcomes;
    for (const NewNotification& item : items) {
      if (item.notification.type == "bad") return error::Internal("bad row");
      outcomes.push_back({absl::OkStatus(), false, item.notification.id, item.notification.create_time});
    }
    return outcomes;
  }
  absl::StatusOr<NotificationRecord> Get(AppId, const NotificationId&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::vector<NotificationRecord>> List(const ListQuery&) override {
    return absl::UnimplementedError("");
  }
  absl::Status Cancel(AppId, const NotificationId&) override { return absl::UnimplementedError(""); }
  absl::Status RecordAttempts(absl::Span<const FailedAttempt>) override { return absl::UnimplementedError(""); }

  void Hold() { hold_ = true; }
  // Only the next call; others pass it.
  void HoldNext() { hold_next_ = true; }
  bool holds_next() const { return hold_next_; }
  void Release() {
    hold_ = false;
    released_.Notify();
  }
  void set_away(bool away) {
    absl::MutexLock lock(&mutex_);
    away_ = away;
  }
  std::vector<size_t> group_sizes() const {
    absl::MutexLock lock(&mutex_);
    return group_sizes_;
  }

 private:
  std::atomic<bool> hold_ = false;
  std::atomic<bool> hold_next_ = false;
  absl::Notification released_;
  mutable absl::Mutex mutex_;
  bool away_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<size_t> group_sizes_ ABSL_GUARDED_BY(mutex_);
};

class CountingWaker final : public OutboxWaker {
 public:
  void Wake(Lane) override { ++wakes; }
  std::atomic<int> wakes = 0;
};

// Gives out versions, nothing else.
class VersionsInMemory final : public ReactionStore {
 public:
  absl::StatusOr<int64_t> TakeVersions() override {
    ++blocks;
    if (away) return error::BackendUnavailable("postgresql", "away");
    return blocks * kVersionBlock;
  }
  absl::Status Enqueue(absl::Span<const ReactionRow>) override { return NotHere(); }
  absl::StatusOr<std::vector<ReactionChange>> Apply(absl::Span<const Reaction>, Render) override { return NotHere(); }
  absl::StatusOr<GatherResult> Gather(absl::Span<const GatheredNotification>, Render) override { return NotHere(); }
  absl::StatusOr<std::vector<std::optional<GatheredWindow>>> ReadWindows(absl::Span<const DueWindow>) override {
    return NotHere();
  }
  absl::StatusOr<int> EndWindows(absl::Span<const WindowEnd>, BeginDeliveries) override { return NotHere(); }
  absl::StatusOr<std::vector<ReactionCounter>> Counters(AppId, absl::Span<const std::string>) override {
    return NotHere();
  }
  absl::StatusOr<RequeuedReactions> RequeueIdle(absl::Time, int) override { return NotHere(); }

  std::atomic<int> blocks = 0;
  std::atomic<bool> away = false;

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not at this door"); }
};

class IngestWriterTest : public ::testing::Test {
 protected:
  using Answer = IngestRequest::Outcomes;

  IngestRequest Request(const std::string& type, std::function<void(Answer)> done,
                        absl::Time deadline = absl::InfiniteFuture()) {
    NewNotification item;
    item.notification.type = type;
    item.notification.id = NewUuid7(clock_.Now());
    return {.items = {item},
            .all_or_nothing = false,
            .deadline = deadline,
            .done = [done = std::move(done), id = item.notification.id](const Answer& answer,
                                                                        absl::Span<const NewNotification> items) {
              ASSERT_EQ(items.size(), 1);
              EXPECT_EQ(items.front().notification.id, id);
              done(answer);
            }};
  }

  std::unique_ptr<IngestWriter> Writer(size_t queue_items = 100, int threads = 1) {
    return std::make_unique<IngestWriter>(
        IngestWriter::Options{.lane = Lane::kSocial, .threads = threads, .queue_items = queue_items, .batch_items = 16},
        store_, waker_, clock_, metrics_, versions_);
  }
  // All of one call, with what was written. Those at odd places are reactions.
  std::vector<NewNotification> WriteBatch(size_t count) {
    IngestRequest request{.items = {}, .all_or_nothing = true, .deadline = absl::InfiniteFuture(), .done = {}};
    for (size_t i = 0; i < count; ++i) {
      NewNotification& item = request.items.emplace_back();
      item.notification.app = AppId(7);
      item.notification.type = "like";
      item.notification.id = NewUuid7(clock_.Now());
      item.notification.recipient = RecipientId("ann");
      item.takes_version = i % 2 == 1;
      if (!item.takes_version) item.envelope = "made before";
    }
    std::vector<NewNotification> written;
    absl::Notification answered;
    request.done = [&](const Answer& answer, absl::Span<const NewNotification> items) {
      EXPECT_THAT(answer, IsOk());
      written.assign(items.begin(), items.end());
      answered.Notify();
    };
    Writer(/*queue_items=*/1000)->Submit(std::move(request));
    answered.WaitForNotification();
    return written;
  }

  testing::SimulatedClock clock_;
  Metrics metrics_;
  CountingWaker waker_;
  const std::shared_ptr<FakeStore> store_ = std::make_shared<FakeStore>();
  const std::shared_ptr<VersionsInMemory> versions_ = std::make_shared<VersionsInMemory>();
};

TEST_F(IngestWriterTest, NumbersReactionsByOneReadAndPutsThatIntoTheirEnvelopes) {
  const std::vector<NewNotification> written = WriteBatch(20);
  ASSERT_EQ(written.size(), 20);
  EXPECT_EQ(versions_->blocks, 1);
  for (size_t i = 0; i < written.size(); ++i) {
    if (!written[i].takes_version) {
      EXPECT_EQ(written[i].notification.version, 0);
      EXPECT_EQ(written[i].envelope, "made before");
      continue;
    }
    EXPECT_EQ(written[i].notification.version, ReactionStore::kVersionBlock + static_cast<int64_t>(i) / 2);
    const auto carried = DecodeEnvelope(written[i].envelope);
    ASSERT_THAT(carried, IsOk());
    EXPECT_EQ(carried->front().version, written[i].notification.version);
  }
}

TEST_F(IngestWriterTest, ReadsNoVersionsForOthers) {
  WriteBatch(1);
  EXPECT_EQ(versions_->blocks, 0);
}

TEST_F(IngestWriterTest, WritesNothingWithoutTheVersionsItNeeds) {
  versions_->away = true;
  auto writer = Writer();
  IngestRequest request = Request("like", {});
  request.items.front().takes_version = true;
  absl::Notification answered;
  request.done = [&](const Answer& answer, absl::Span<const NewNotification>) {
    EXPECT_THAT(answer, StatusIs(absl::StatusCode::kUnavailable));
    answered.Notify();
  };
  writer->Submit(std::move(request));
  answered.WaitForNotification();
  EXPECT_TRUE(store_->group_sizes().empty());
}

TEST_F(IngestWriterTest, CommitsTogetherWhatGatheredMeanwhile) {
  store_->Hold();
  auto writer = Writer();
  absl::BlockingCounter answers(41);
  for (int i = 0; i < 41; ++i) {
    writer->Submit(Request("like", [&](Answer answer) {
      EXPECT_THAT(answer, IsOk());
      answers.DecrementCount();
    }));
  }
  store_->Release();
  answers.Wait();
  EXPECT_LE(store_->group_sizes().size(), 5);
  EXPECT_THAT(store_->group_sizes(), Each(Le(16)));
  EXPECT_GT(waker_.wakes, 0);
}

TEST_F(IngestWriterTest, LetsOneBadRequestFailAlone) {
  store_->Hold();
  auto writer = Writer();
  absl::BlockingCounter answers(10);
  std::atomic<int> failed = 0;
  for (int i = 0; i < 10; ++i) {
    writer->Submit(Request(i == 4 ? "bad" : "like", [&](Answer answer) {
      if (!answer.ok()) ++failed;
      answers.DecrementCount();
    }));
  }
  store_->Release();
  answers.Wait();
  EXPECT_EQ(failed, 1);
}

TEST_F(IngestWriterTest, GoesOnWhileACommitHangs) {
  store_->HoldNext();
  auto writer = Writer(/*queue_items=*/100, /*threads=*/2);
  absl::Notification hanging, passing;
  writer->Submit(Request("like", [&](const Answer&) { hanging.Notify(); }));
  ASSERT_TRUE(testing::WaitFor([&] { return !store_->holds_next(); }));
  writer->Submit(Request("like", [&](const Answer& answer) {
    EXPECT_THAT(answer, IsOk());
    passing.Notify();
  }));
  EXPECT_TRUE(passing.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_FALSE(hanging.HasBeenNotified());
  store_->Release();
  EXPECT_TRUE(hanging.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

// A thread that gathers may find that another has taken all meanwhile.
TEST_F(IngestWriterTest, AnswersEveryBurstAndTheSinglesBetweenThem) {
  auto writer = Writer(/*queue_items=*/1000, /*threads=*/3);
  for (int round = 0; round < 100; ++round) {
    const int requests = round % 2 == 0 ? 1 : 200;
    absl::BlockingCounter answers(requests);
    for (int i = 0; i < requests; ++i) {
      writer->Submit(Request("like", [&](const Answer& answer) {
        EXPECT_THAT(answer, IsOk());
        answers.DecrementCount();
      }));
    }
    answers.Wait();
  }
}

TEST_F(IngestWriterTest, RefusesWhatItsQueueCanNotHold) {
  store_->Hold();
  auto writer = Writer(/*queue_items=*/3);
  absl::Mutex mutex;
  std::vector<absl::StatusCode> codes;
  for (int i = 0; i < 30; ++i) {
    writer->Submit(Request("like", [&](Answer answer) {
      absl::MutexLock lock(&mutex);
      codes.push_back(answer.status().code());
    }));
  }
  store_->Release();
  writer->Stop();
  EXPECT_EQ(codes.size(), 30);
  EXPECT_THAT(codes, Contains(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(codes, Contains(absl::StatusCode::kOk));
}

TEST_F(IngestWriterTest, DoesNotBeginWhatIsPastItsDeadline) {
  auto writer = Writer();
  absl::Notification answered;
  absl::Status status;
  writer->Submit(Request(
      "like",
      [&](Answer answer) {
        status = answer.status();
        answered.Notify();
      },
      clock_.Now() - absl::Seconds(1)));
  ASSERT_TRUE(answered.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_TRUE(store_->group_sizes().empty());
}

TEST_F(IngestWriterTest, AnswersAllWhenTheStoreIsAwayAndRefusesAfterStop) {
  store_->set_away(true);
  auto writer = Writer();
  absl::BlockingCounter answers(5);
  for (int i = 0; i < 5; ++i) {
    writer->Submit(Request("like", [&](Answer answer) {
      EXPECT_THAT(answer, StatusIs(absl::StatusCode::kUnavailable));
      answers.DecrementCount();
    }));
  }
  answers.Wait();
  EXPECT_EQ(waker_.wakes, 0);
  writer->Stop();
  bool refused = false;
  writer->Submit(Request("like", [&](Answer answer) { refused = DetailsOf(answer.status()).reason == "DRAINING"; }));
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace carillon
