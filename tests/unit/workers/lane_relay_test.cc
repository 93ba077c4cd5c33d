#include "workers/relay/lane_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Its payload is its name: the body of a message is the names of its rows.
OutboxRow Row(const std::string& type, const std::string& name) {
  static int count = 0;
  return {.message_id = NewUuid7(absl::FromUnixSeconds(1'800'000'000 + ++count)),
          .app = AppId(7),
          .exchange = std::string(kTopicExchange),
          .routing_key = "marketing." + type,
          .type = type,
          .payload = name};
}

std::vector<OutboxRow> Rows(int count) {
  std::vector<OutboxRow> rows;
  for (int i = 0; i < count; ++i) rows.push_back(Row("discount", absl::StrCat("r", i)));
  return rows;
}

struct PutOff {
  std::string error;
  absl::Duration delay;
};

// What is put off stays away for good. Thread-safe, as the other fakes are.
class OutboxInMemory final : public OutboxReader {
 public:
  void Add(std::vector<OutboxRow> rows) {
    absl::MutexLock lock(&mutex_);
    ready_.insert(ready_.end(), rows.begin(), rows.end());
  }
  void FailSettleOnce() {
    absl::MutexLock lock(&mutex_);
    fail_settle_ = true;
  }
  size_t ready() const { return Locked(ready_).size(); }
  size_t taken() const { return Locked(taken_).size(); }
  std::vector<std::string> settled() const { return Locked(settled_); }
  std::map<std::string, PutOff> put_off() const { return Locked(put_off_); }
  int takes() const { return Locked(takes_); }
  int settles() const { return Locked(settles_); }
  int releases() const { return Locked(releases_); }

  absl::StatusOr<std::vector<OutboxRow>> Take(int limit) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_THAT(taken_, IsEmpty()) << "taken before those were settled";
    ++takes_;
    const auto end = ready_.begin() + std::min(limit, static_cast<int>(ready_.size()));
    taken_.assign(ready_.begin(), end);
    ready_.erase(ready_.begin(), end);
    return taken_;
  }

  absl::Status Settle(absl::Span<const Failure> failures) override {
    absl::MutexLock lock(&mutex_);
    ++settles_;
    if (std::exchange(fail_settle_, false)) return absl::UnavailableError("the store is away");
    std::map<Uuid, PutOff> failed;
    for (const Failure& failure : failures) failed[failure.row->message_id] = {failure.error, failure.delay};
    EXPECT_THAT(failed, SizeIs(failures.size())) << "a row is put off once";
    for (const OutboxRow& row : taken_) {
      const auto found = failed.find(row.message_id);
      if (found == failed.end()) {
        settled_.push_back(row.payload);
      } else {
        put_off_[row.payload] = found->second;
      }
    }
    taken_.clear();
    return absl::OkStatus();
  }

  absl::Status Release() override {
    absl::MutexLock lock(&mutex_);
    ++releases_;
    ready_.insert(ready_.begin(), taken_.begin(), taken_.end());
    taken_.clear();
    return absl::OkStatus();
  }

  void BecomeDue(std::vector<OutboxRow> rows) {
    absl::MutexLock lock(&mutex_);
    due_ = std::move(rows);
  }
  size_t due() const { return Locked(due_).size(); }

  absl::StatusOr<int> ReleaseDue(int limit) override {
    absl::MutexLock lock(&mutex_);
    const auto end = due_.begin() + std::min(limit, static_cast<int>(due_.size()));
    const auto released = static_cast<int>(end - due_.begin());
    ready_.insert(ready_.begin(), due_.begin(), end);
    due_.erase(due_.begin(), end);
    return released;
  }

 private:
  template <typename T>
  T Locked(const T& field) const {
    absl::MutexLock lock(&mutex_);
    return field;
  }

  mutable absl::Mutex mutex_;
  // Guarded by mutex_, as all below.
  std::vector<OutboxRow> ready_;
  std::vector<OutboxRow> due_;
  std::vector<OutboxRow> taken_;
  std::vector<std::string> settled_;
  std::map<std::string, PutOff> put_off_;
  bool fail_settle_ = false;
  int takes_ = 0;
  int settles_ = 0;
  int releases_ = 0;
};

// Confirms everything but the types that a test names.
class PublisherInMemory final : public Publisher {
 public:
  void Answer(const std::string& type, PublishOutcome outcome) {
    absl::MutexLock lock(&mutex_);
    answers_[type] = outcome;
  }
  // While there is one, nothing is sent.
  void FailWith(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    failure_ = status;
  }
  // Messages wait for their answers until Open().
  void Shut() {
    absl::MutexLock lock(&mutex_);
    open_ = false;
  }
  void Open() {
    absl::MutexLock lock(&mutex_);
    open_ = true;
  }
  std::vector<std::string> bodies() const {
    absl::MutexLock lock(&mutex_);
    return bodies_;
  }

  absl::StatusOr<std::vector<PublishOutcome>> Publish(absl::Span<const OutboundMessage> messages,
                                                      absl::Duration) override {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    std::vector<PublishOutcome> outcomes;
    for (const OutboundMessage& message : messages) {
      bodies_.push_back(message.body);
      const auto answer = answers_.find(message.type);
      outcomes.push_back(answer == answers_.end() ? PublishOutcome::kConfirmed : answer->second);
    }
    mutex_.Await(absl::Condition(&open_));
    return outcomes;
  }
  absl::Status EnsureBinding(const BindingSpec&) override { return absl::OkStatus(); }
  absl::Status Service() override { return absl::OkStatus(); }

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, PublishOutcome> answers_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool open_ ABSL_GUARDED_BY(mutex_) = true;
  std::vector<std::string> bodies_ ABSL_GUARDED_BY(mutex_);
};

// Queues that hold what a test says; others are empty.
class QueuesToLookAt final : public TopologyAdmin {
 public:
  void Show(const std::string& queue, int64_t messages, int64_t consumers) {
    absl::MutexLock lock(&mutex_);
    shown_[queue] = {.declared = true, .messages = messages, .consumers = consumers};
  }
  int looks() const {
    absl::MutexLock lock(&mutex_);
    return looks_;
  }

  absl::Status Declare(const Topology&) override { return absl::UnimplementedError("not in these tests"); }
  void Fail(absl::Status failure) {
    absl::MutexLock lock(&mutex_);
    failure_ = std::move(failure);
  }
  absl::StatusOr<QueueStats> Inspect(const std::string& queue) override {
    absl::MutexLock lock(&mutex_);
    ++looks_;
    if (!failure_.ok()) return failure_;
    return shown_[queue];
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, QueueStats> shown_ ABSL_GUARDED_BY(mutex_);
  int looks_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

class LaneRelayTest : public ::testing::Test {
 protected:
  ~LaneRelayTest() override {
    publisher_.Open();
    if (!stop_.is_set()) stop_.Set();
    if (thread_.joinable()) thread_.join();
  }

  // Runs until the end of the test.
  void Start(const LaneRelay::Options& options) {
    relay_ = std::make_unique<LaneRelay>(options, LaneRelay::Deps{.outbox = std::move(owned_outbox_),
                                                                  .publisher = std::move(owned_publisher_),
                                                                  .queues = std::move(owned_queues_),
                                                                  .wake = wake_,
                                                                  .metrics = metrics_,
                                                                  .stop = stop_,
                                                                  .declared = declared_});
    thread_ = std::thread([this] {
      relay_->Run();
      has_returned_ = true;
    });
  }
  bool Settles(size_t rows) {
    return WaitFor([&] { return outbox_.settled().size() == rows; });
  }
  bool Returns() {
    return WaitFor([&] { return has_returned_.load(); });
  }
  // Until it has looked so many times more.
  bool Looks(int times) {
    return WaitFor([&, enough = queues_.looks() + times] { return queues_.looks() >= enough; });
  }
  double Published(const std::string& outcome) {
    return metrics_
        .Counter("carillon_published_total", "Outbox rows published, by the broker's answer",
                 {{"lane", "marketing"}, {"outcome", outcome}})
        .Value();
  }

  StopSignal stop_;
  WakeSignal wake_;
  Metrics metrics_;
  absl::Notification declared_;
  std::unique_ptr<OutboxInMemory> owned_outbox_ = std::make_unique<OutboxInMemory>();
  OutboxInMemory& outbox_ = *owned_outbox_;
  std::unique_ptr<PublisherInMemory> owned_publisher_ = std::make_unique<PublisherInMemory>();
  PublisherInMemory& publisher_ = *owned_publisher_;
  std::unique_ptr<QueuesToLookAt> owned_queues_ = std::make_unique<QueuesToLookAt>();
  QueuesToLookAt& queues_ = *owned_queues_;
  std::unique_ptr<LaneRelay> relay_;
  std::atomic<bool> has_returned_ = false;
  std::thread thread_;
};

TEST_F(LaneRelayTest, PacksRowsOfOneKindIntoOneMessage) {
  declared_.Notify();
  outbox_.Add({Row("discount", "a"), Row("news", "b"), Row("discount", "c"), Row("discount", "d")});
  Start({.lane = Lane::kMarketing, .pack = 100});
  ASSERT_TRUE(Settles(4));
  EXPECT_THAT(publisher_.bodies(), ElementsAre("acd", "b"));
  EXPECT_EQ(outbox_.settles(), 1);
}

TEST_F(LaneRelayTest, SendsEachRowAloneWhereTheLaneDoesNotPack) {
  declared_.Notify();
  outbox_.Add({Row("discount", "a"), Row("news", "b"), Row("discount", "c")});
  Start({.lane = Lane::kMarketing, .pack = 1});
  ASSERT_TRUE(Settles(3));
  EXPECT_THAT(publisher_.bodies(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(outbox_.settles(), 1);
}

TEST_F(LaneRelayTest, TakesWhatComesWhileItRuns) {
  declared_.Notify();
  Start({.lane = Lane::kMarketing});
  ASSERT_TRUE(WaitFor([&] { return outbox_.takes() > 0; }));
  outbox_.Add(Rows(3));
  wake_.Set();
  EXPECT_TRUE(Settles(3));
}

TEST_F(LaneRelayTest, PutsOffExactlyTheRowsOfAMessageThatIsNotConfirmed) {
  declared_.Notify();
  std::vector<OutboxRow> rows;
  for (const std::string& type : std::vector<std::string>{"good", "homeless", "unwanted", "silent"}) {
    for (const char* number : {"1", "2"}) rows.push_back(Row(type, type + number));
  }
  publisher_.Answer("homeless", PublishOutcome::kReturned);
  publisher_.Answer("unwanted", PublishOutcome::kRefused);
  publisher_.Answer("silent", PublishOutcome::kUnknown);
  rows[3].attempts = 3;
  rows[7].attempts = 3;
  outbox_.Add(rows);
  Start({.lane = Lane::kMarketing, .pack = 100});
  ASSERT_TRUE(Settles(2));
  EXPECT_THAT(outbox_.settled(), ElementsAre("good1", "good2"));
  const auto put_off = [](absl::Duration delay, const char* error) {
    return AllOf(Field(&PutOff::delay, delay), Field(&PutOff::error, HasSubstr(error)));
  };
  // Later each time, but not for want of an answer.
  EXPECT_THAT(outbox_.put_off(), UnorderedElementsAre(Pair("homeless1", put_off(absl::Seconds(1), "no queue is bound")),
                                                      Pair("homeless2", put_off(absl::Seconds(8), "no queue is bound")),
                                                      Pair("unwanted1", put_off(absl::Seconds(1), "refused")),
                                                      Pair("unwanted2", put_off(absl::Seconds(1), "refused")),
                                                      Pair("silent1", put_off(absl::Seconds(1), "did not confirm")),
                                                      Pair("silent2", put_off(absl::Seconds(1), "did not confirm"))));
  EXPECT_EQ(outbox_.releases(), 0);
  for (const char* outcome : {"confirmed", "returned", "refused", "unknown"}) EXPECT_EQ(Published(outcome), 2);
}

TEST_F(LaneRelayTest, LetsRowsGoAsTheyWereWhenNothingCouldBeSent) {
  declared_.Notify();
  publisher_.FailWith(absl::UnavailableError("the broker is away"));
  outbox_.Add(Rows(5));
  Start({.lane = Lane::kMarketing});
  ASSERT_TRUE(WaitFor([&] { return outbox_.releases() >= 2; }));
  EXPECT_EQ(outbox_.settles(), 0);
  EXPECT_THAT(outbox_.put_off(), IsEmpty());
  publisher_.FailWith(absl::OkStatus());
  ASSERT_TRUE(Settles(5));
  EXPECT_THAT(publisher_.bodies(), SizeIs(5));
}

TEST_F(LaneRelayTest, PublishesAgainWhatTheStoreDidNotSettle) {
  declared_.Notify();
  outbox_.FailSettleOnce();
  outbox_.Add(Rows(2));
  Start({.lane = Lane::kMarketing});
  ASSERT_TRUE(Settles(2));
  EXPECT_EQ(outbox_.releases(), 1);
  EXPECT_THAT(publisher_.bodies(), ElementsAre("r0", "r1", "r0", "r1"));
}

TEST_F(LaneRelayTest, ReleasesBatchAfterBatchAndAsMuchElseBesideIt) {
  declared_.Notify();
  outbox_.BecomeDue(Rows(35));
  outbox_.Add(Rows(40));
  Start({.lane = Lane::kMarketing, .batch = 10});
  EXPECT_TRUE(Settles(75));
  EXPECT_EQ(outbox_.due(), 0u);
}

TEST_F(LaneRelayTest, ReleasesNoMoreIntoLongQueuesAndGoesOnWithWhatIsReady) {
  declared_.Notify();
  queues_.Show("marketing", /*messages=*/5000, /*consumers=*/1);
  outbox_.BecomeDue(Rows(35));
  Start({.lane = Lane::kMarketing, .batch = 10, .longest_wait_for_room = absl::Hours(1)});
  ASSERT_TRUE(Settles(10)) << "that more is due it learns from the first batch";
  ASSERT_TRUE(Looks(3));
  EXPECT_EQ(outbox_.due(), 25u);
  outbox_.Add(Rows(5));
  EXPECT_TRUE(Settles(15));
  queues_.Show("marketing", /*messages=*/0, /*consumers=*/1);
  EXPECT_TRUE(Settles(40));
}

TEST_F(LaneRelayTest, ReleasesABatchNowAndThenIntoQueuesThatStayLong) {
  declared_.Notify();
  queues_.Show("marketing", /*messages=*/5000, /*consumers=*/1);
  outbox_.BecomeDue(Rows(35));
  Start({.lane = Lane::kMarketing, .batch = 10, .longest_wait_for_room = absl::Milliseconds(30)});
  EXPECT_TRUE(Settles(35));
}

TEST_F(LaneRelayTest, GoesOnWithWhatIsReadyWhereQueuesCantBeLookedAt) {
  declared_.Notify();
  queues_.Fail(absl::NotFoundError("no such queue"));
  outbox_.BecomeDue(Rows(35));
  outbox_.Add(Rows(30));
  Start({.lane = Lane::kMarketing, .batch = 10, .longest_wait_for_room = absl::Hours(1)});
  EXPECT_TRUE(Settles(40));
  ASSERT_TRUE(Looks(2));
  EXPECT_EQ(outbox_.due(), 25u);
  queues_.Fail(absl::OkStatus());
  EXPECT_TRUE(Settles(65));
}

TEST_F(LaneRelayTest, TakesNoMoreWhileAConsumedQueueHoldsItsWindow) {
  declared_.Notify();
  queues_.Show("marketing", /*messages=*/50, /*consumers=*/1);
  outbox_.Add(Rows(30));
  Start({.lane = Lane::kMarketing, .batch = 10, .window = 50});
  ASSERT_TRUE(Settles(10));
  ASSERT_TRUE(Looks(3));
  EXPECT_EQ(outbox_.takes(), 1);
  EXPECT_EQ(outbox_.ready(), 20u);
  queues_.Show("marketing", /*messages=*/49, /*consumers=*/1);
  EXPECT_TRUE(Settles(30));
}

TEST_F(LaneRelayTest, IsHeldBackByAnyQueueOfItsLane) {
  declared_.Notify();
  queues_.Show("social.like", /*messages=*/50, /*consumers=*/1);
  outbox_.Add(Rows(20));
  Start({.lane = Lane::kSocial, .batch = 10, .window = 50});
  ASSERT_TRUE(Settles(10));
  ASSERT_TRUE(Looks(3 * static_cast<int>(LaneQueues(Lane::kSocial).size())));
  EXPECT_EQ(outbox_.takes(), 1);
}

TEST_F(LaneRelayTest, IsNotHeldBackWhereQueuesCantBeLookedAt) {
  declared_.Notify();
  queues_.Fail(absl::UnavailableError("away"));
  outbox_.Add(Rows(30));
  Start({.lane = Lane::kMarketing, .batch = 10, .window = 50});
  ASSERT_TRUE(Settles(30));
  EXPECT_GE(queues_.looks(), 1);
}

TEST_F(LaneRelayTest, FillsAQueueThatNobodyConsumes) {
  declared_.Notify();
  queues_.Show("marketing", /*messages=*/1'000'000, /*consumers=*/0);
  outbox_.Add(Rows(30));
  Start({.lane = Lane::kMarketing, .batch = 10, .window = 50});
  ASSERT_TRUE(Settles(30));
  EXPECT_GE(queues_.looks(), 1);
}

TEST_F(LaneRelayTest, LooksAtNoQueueForATrickle) {
  declared_.Notify();
  outbox_.Add(Rows(9));
  Start({.lane = Lane::kMarketing, .batch = 10, .window = 50});
  ASSERT_TRUE(Settles(9));
  ASSERT_TRUE(WaitFor([&, enough = outbox_.takes() + 3] { return outbox_.takes() >= enough; }));
  EXPECT_EQ(queues_.looks(), 0);
}

TEST_F(LaneRelayTest, SettlesWhatItTookWhenItIsStopped) {
  declared_.Notify();
  publisher_.Shut();
  outbox_.Add(Rows(20));
  Start({.lane = Lane::kMarketing, .batch = 10});
  ASSERT_TRUE(WaitFor([&] { return publisher_.bodies().size() == 10; }));
  stop_.Set();
  EXPECT_EQ(outbox_.taken(), 10u);
  EXPECT_FALSE(has_returned_);
  publisher_.Open();
  ASSERT_TRUE(Returns());
  EXPECT_THAT(outbox_.settled(), SizeIs(10));
  EXPECT_EQ(outbox_.taken(), 0u);
  EXPECT_EQ(outbox_.ready(), 10u);
}

TEST_F(LaneRelayTest, StopsWhileItIsHeldBack) {
  declared_.Notify();
  queues_.Show("marketing", /*messages=*/50, /*consumers=*/1);
  outbox_.Add(Rows(20));
  Start({.lane = Lane::kMarketing, .batch = 10, .window = 50});
  ASSERT_TRUE(Looks(1));
  stop_.Set();
  ASSERT_TRUE(Returns());
  EXPECT_EQ(outbox_.ready(), 10u);
}

TEST_F(LaneRelayTest, TakesNothingBeforeTheTopologyIsDeclared) {
  outbox_.Add(Rows(1));
  Start({.lane = Lane::kMarketing});
  stop_.Set();
  ASSERT_TRUE(Returns());
  EXPECT_EQ(outbox_.takes(), 0);
}

}  // namespace
}  // namespace carillon::testing
