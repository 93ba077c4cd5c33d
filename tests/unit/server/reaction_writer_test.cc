#include "server/ingest/reaction_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::Le;
using ::testing::SizeIs;
using testing::StatusIs;

// Keeps what is enqueued, but for rows of type "bad"; can be held, and can be away.
class FakeStore final : public ReactionStore {
 public:
  absl::StatusOr<int64_t> TakeVersions() override {
    if (hold_) released_.WaitForNotification();
    absl::MutexLock lock(&mutex_);
    if (away_) return error::BackendUnavailable("postgresql", "away");
    return std::exchange(next_version_, next_version_ + kVersionBlock);
  }
  absl::Status Enqueue(absl::Span<const ReactionRow> rows) override {
    absl::MutexLock lock(&mutex_);
    for (const ReactionRow& row : rows) {
      if (row.type == "bad") return error::Internal("bad row");
    }
    ++statements_;
    rows_.insert(rows_.end(), rows.begin(), rows.end());
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<ReactionChange>> Apply(absl::Span<const Reaction>, Render) override {
    return absl::UnimplementedError("not at the door");
  }
  absl::StatusOr<GatherResult> Gather(absl::Span<const GatheredNotification>, Render) override {
    return absl::UnimplementedError("not at the door");
  }
  absl::StatusOr<std::vector<std::optional<GatheredWindow>>> ReadWindows(absl::Span<const DueWindow>) override {
    return absl::UnimplementedError("not at the door");
  }
  absl::StatusOr<int> EndWindows(absl::Span<const WindowEnd>, BeginDeliveries) override {
    return absl::UnimplementedError("not at the door");
  }
  absl::StatusOr<std::vector<ReactionCounter>> Counters(AppId, absl::Span<const std::string>) override {
    return absl::UnimplementedError("not at the door");
  }
  absl::StatusOr<RequeuedReactions> RequeueIdle(absl::Time, int) override {
    return absl::UnimplementedError("not at the door");
  }

  void Hold() { hold_ = true; }
  void Release() {
    hold_ = false;
    released_.Notify();
  }
  void set_away(bool away) {
    absl::MutexLock lock(&mutex_);
    away_ = away;
  }
  std::vector<ReactionRow> rows() const {
    absl::MutexLock lock(&mutex_);
    return rows_;
  }
  int statements() const {
    absl::MutexLock lock(&mutex_);
    return statements_;
  }
  // What the rows carry, in their order.
  std::vector<Reaction> reactions() const {
    std::vector<Reaction> all;
    for (const ReactionRow& row : rows()) {
      const absl::StatusOr<EnvelopeContents> contents = DecodeContents(row.envelope);
      EXPECT_OK(contents);
      if (contents.ok()) all.insert(all.end(), contents->reactions.begin(), contents->reactions.end());
    }
    return all;
  }

 private:
  std::atomic<bool> hold_ = false;
  absl::Notification released_;
  mutable absl::Mutex mutex_;
  bool away_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t next_version_ ABSL_GUARDED_BY(mutex_) = 1;
  int statements_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<ReactionRow> rows_ ABSL_GUARDED_BY(mutex_);
};

class CountingWaker final : public OutboxWaker {
 public:
  void Wake(Lane lane) override {
    EXPECT_EQ(lane, Lane::kSocial);
    ++wakes;
  }
  std::atomic<int> wakes = 0;
};

class ReactionWriterTest : public ::testing::Test {
 protected:
  static Reaction Like(const std::string& actor, const std::string& type = "like") {
    return {.app = AppId(7),
            .actor_id = actor,
            .object_id = "post-1",
            .kind = "like",
            .recipient = type.empty() ? "" : "ann",
            .type = type,
            .data_json = ""};
  }
  static ReactionRequest Request(std::vector<Reaction> reactions, std::function<void(const absl::Status&)> done,
                                 absl::Time deadline = absl::InfiniteFuture()) {
    return {.reactions = std::move(reactions), .deadline = deadline, .done = std::move(done)};
  }
  std::unique_ptr<ReactionWriter> Writer(size_t queue_reactions = 10'000) {
    return std::make_unique<ReactionWriter>(queue_reactions, store_, waker_, clock_, metrics_);
  }

  testing::SimulatedClock clock_;
  Metrics metrics_;
  CountingWaker waker_;
  const std::shared_ptr<FakeStore> store_ = std::make_shared<FakeStore>();
};

TEST_F(ReactionWriterTest, WritesTogetherWhatGatheredMeanwhile) {
  store_->Hold();
  auto writer = Writer();
  absl::BlockingCounter answers(100);
  for (int i = 0; i < 100; ++i) {
    writer->Submit(Request({Like(absl::StrCat("actor-", i))}, [&](const absl::Status& status) {
      EXPECT_OK(status);
      answers.DecrementCount();
    }));
  }
  store_->Release();
  answers.Wait();
  EXPECT_LE(store_->statements(), 2);
  EXPECT_THAT(store_->reactions(), SizeIs(100));
  EXPECT_EQ(waker_.wakes, store_->statements());
}

TEST_F(ReactionWriterTest, GivesVersionsInTheOrderOfAcceptance) {
  auto writer = Writer();
  for (int i = 0; i < 20; ++i) {
    absl::Notification answered;
    writer->Submit(Request({Like("bob"), Like("bob")}, [&](const absl::Status&) { answered.Notify(); }));
    answered.WaitForNotification();
  }
  int64_t last = 0;
  for (const Reaction& reaction : store_->reactions()) {
    EXPECT_GT(reaction.version, last);
    last = reaction.version;
  }
}

TEST_F(ReactionWriterTest, GivesNoMoreVersionsThanABlockHas) {
  store_->Hold();
  auto writer = Writer();
  absl::BlockingCounter answers(5);
  for (int i = 0; i < 5; ++i) {
    std::vector<Reaction> reactions(1000, Like("bob"));
    writer->Submit(Request(std::move(reactions), [&](const absl::Status&) { answers.DecrementCount(); }));
  }
  store_->Release();
  answers.Wait();
  std::set<int64_t> versions;
  for (const Reaction& reaction : store_->reactions()) versions.insert(reaction.version);
  EXPECT_THAT(versions, SizeIs(5000));
  EXPECT_GE(store_->statements(), 5);
}

TEST_F(ReactionWriterTest, MakesRowsOfOneTypeThatAWorkerTakesAtOnce) {
  auto writer = Writer();
  std::vector<Reaction> reactions;
  for (int i = 0; i < 300; ++i) reactions.push_back(Like(absl::StrCat("a", i), i % 3 == 0 ? "follow" : "like"));
  reactions.push_back(Like("silent", ""));
  for (int i = 0; i < 10; ++i) {
    reactions.push_back(Like(absl::StrCat("big", i), "chat"));
    reactions.back().data_json = absl::StrCat("{\"text\":\"", std::string(60 * 1024, 'x'), "\"}");
  }
  absl::Notification answered;
  writer->Submit(Request(reactions, [&](const absl::Status&) { answered.Notify(); }));
  answered.WaitForNotification();
  EXPECT_THAT(store_->reactions(), SizeIs(reactions.size()));
  std::map<std::string, int> rows;
  std::set<Uuid> ids;
  for (const ReactionRow& row : store_->rows()) {
    ASSERT_OK_AND_ASSIGN(const EnvelopeContents contents, DecodeContents(row.envelope));
    for (const Reaction& reaction : contents.reactions) EXPECT_EQ(reaction.group, row.message_id);
    ++rows[row.type];
    ids.insert(row.message_id);
    EXPECT_THAT(row.envelope.size(), Le(400 * 1024));
  }
  EXPECT_EQ(rows["follow"], 1);
  EXPECT_EQ(rows["like"], 1);
  EXPECT_EQ(rows["reaction"], 1);
  EXPECT_EQ(rows["chat"], 2);
  EXPECT_EQ(ids.size(), store_->rows().size());
}

TEST_F(ReactionWriterTest, LetsOneBadRequestFailAlone) {
  store_->Hold();
  auto writer = Writer();
  absl::BlockingCounter answers(10);
  std::atomic<int> failed = 0;
  for (int i = 0; i < 10; ++i) {
    writer->Submit(Request({Like("bob", i == 4 ? "bad" : "like")}, [&](const absl::Status& status) {
      if (!status.ok()) ++failed;
      answers.DecrementCount();
    }));
  }
  store_->Release();
  answers.Wait();
  EXPECT_EQ(failed, 1);
  EXPECT_THAT(store_->reactions(), SizeIs(9));
}

TEST_F(ReactionWriterTest, RefusesWhatItsQueueCanNotHold) {
  store_->Hold();
  auto writer = Writer(/*queue_reactions=*/10);
  absl::Mutex mutex;
  std::vector<absl::Status> refused;
  for (int i = 0; i < 30; ++i) {
    writer->Submit(Request({Like("bob"), Like("eve")}, [&](const absl::Status& status) {
      absl::MutexLock lock(&mutex);
      if (!status.ok()) refused.push_back(status);
    }));
  }
  store_->Release();
  writer->Stop();
  // Five wait, and up to five may have been taken before.
  EXPECT_THAT(refused.size(), ::testing::AllOf(::testing::Ge(20), Le(25)));
  EXPECT_THAT(refused, Each(StatusIs(absl::StatusCode::kResourceExhausted)));
  EXPECT_TRUE(DetailsOf(refused.front()).retry_delay.has_value());
}

TEST_F(ReactionWriterTest, DoesNotBeginWhatIsPastItsDeadline) {
  auto writer = Writer();
  absl::Notification answered;
  absl::Status answer;
  writer->Submit(Request(
      {Like("bob")},
      [&](const absl::Status& status) {
        answer = status;
        answered.Notify();
      },
      clock_.Now() - absl::Seconds(1)));
  answered.WaitForNotification();
  EXPECT_THAT(answer, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(store_->rows(), IsEmpty());
}

TEST_F(ReactionWriterTest, AnswersAllWhenTheStoreIsAwayAndRefusesAfterStop) {
  store_->set_away(true);
  auto writer = Writer();
  absl::BlockingCounter answers(5);
  for (int i = 0; i < 5; ++i) {
    writer->Submit(Request({Like("bob")}, [&](const absl::Status& status) {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
      answers.DecrementCount();
    }));
  }
  answers.Wait();
  EXPECT_EQ(waker_.wakes, 0);
  writer->Stop();
  bool refused = false;
  writer->Submit(
      Request({Like("bob")}, [&](const absl::Status& status) { refused = DetailsOf(status).reason == "DRAINING"; }));
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace carillon
