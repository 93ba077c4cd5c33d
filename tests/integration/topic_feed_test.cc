// Public feeds of topics: lists under a herd of readers, and streams, on two servers.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "carillon/v1/feed_service.grpc.pb.h"
#include "tests/integration/system_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Ge;
using ::testing::SizeIs;

const std::vector<std::string> kServers = {"server", "server-2"};

std::unique_ptr<v1::FeedService::Stub> StubOf(const RunningStack& stack, const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::FeedService::NewStub(
      grpc::CreateCustomChannel(stack.address(server), grpc::InsecureChannelCredentials(), arguments));
}

void Authorise(const RunningStack& stack, grpc::ClientContext& context) {
  context.AddMetadata("x-app-key", stack.app_key());
  context.AddMetadata("x-app-secret", stack.app_secret());
}

// A topic's stream from one server, and when each event came. Thread-safe.
class TopicStream {
 public:
  TopicStream(const RunningStack& stack, const std::string& server, const std::string& topic, int64_t after_seq = 0)
      : stub_(StubOf(stack, server)) {
    Authorise(stack, context_);
    v1::SubscribeTopicRequest request;
    request.set_topic_id(topic);
    request.set_after_seq(after_seq);
    reader_ = stub_->SubscribeTopic(&context_, request);
    reader_->WaitForInitialMetadata();
    thread_ = std::thread([this] { Read(); });
  }
  ~TopicStream() {
    context_.TryCancel();
    thread_.join();
  }

  std::vector<int64_t> seqs() const {
    absl::MutexLock lock(&mutex_);
    std::vector<int64_t> seqs;
    for (const Arrival& arrival : arrivals_) seqs.push_back(arrival.seq);
    return seqs;
  }
  bool WaitForSeq(int64_t seq) const {
    return WaitFor(
        [&] {
          absl::MutexLock lock(&mutex_);
          return !arrivals_.empty() && arrivals_.back().seq >= seq;
        },
        absl::Seconds(30));
  }
  // When the first event after a number came; in the far future if none did.
  absl::Time ArrivalAfter(int64_t seq) const {
    absl::MutexLock lock(&mutex_);
    const auto next = std::upper_bound(arrivals_.begin(), arrivals_.end(), seq,
                                       [](int64_t bound, const Arrival& arrival) { return bound < arrival.seq; });
    return next == arrivals_.end() ? absl::InfiniteFuture() : next->time;
  }

 private:
  struct Arrival {
    int64_t seq;
    absl::Time time;
  };

  void Read() {
    v1::SubscribeTopicResponse event;
    while (reader_->Read(&event)) {
      if (!event.has_item()) continue;
      absl::MutexLock lock(&mutex_);
      arrivals_.push_back({event.seq(), absl::Now()});
    }
  }

  const std::unique_ptr<v1::FeedService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::SubscribeTopicResponse>> reader_;
  mutable absl::Mutex mutex_;
  std::vector<Arrival> arrivals_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// Readers of a topic's list on one server: each asks again when it is answered.
// Thread-safe.
class Herd {
 public:
  struct Sample {
    absl::Time asked;
    int64_t last_seq;
  };

  Herd(const RunningStack& stack, const std::string& server, const std::string& topic, int readers)
      : stack_(stack), topic_(topic) {
    for (int i = 0; i < readers; ++i) {
      if (i % kReadersOnAConnection == 0) stubs_.push_back(StubOf(stack, server));
      ++running_;
      Ask(*stubs_.back());
    }
  }
  ~Herd() { Stop(); }

  void Stop() {
    stopping_ = true;
    EXPECT_TRUE(WaitFor([&] { return running_ == 0; }, absl::Seconds(30)));
  }
  std::vector<Sample> samples() const {
    absl::MutexLock lock(&mutex_);
    return samples_;
  }
  int failures() const { return failures_; }

 private:
  static constexpr int kReadersOnAConnection = 250;

  struct Call {
    const absl::Time asked = absl::Now();
    grpc::ClientContext context;
    v1::ListTopicFeedRequest request;
    v1::ListTopicFeedResponse response;
  };

  void Ask(v1::FeedService::Stub& stub) {
    auto call = std::make_shared<Call>();
    Authorise(stack_, call->context);
    call->context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    call->request.set_topic_id(topic_);
    call->request.set_page_size(5);
    stub.async()->ListTopicFeed(&call->context, &call->request, &call->response,
                                [this, &stub, call](grpc::Status status) { OnAnswer(stub, status, *call); });
  }
  void OnAnswer(v1::FeedService::Stub& stub, const grpc::Status& status, const Call& call) {
    if (!status.ok()) ++failures_;
    if (status.ok()) {
      absl::MutexLock lock(&mutex_);
      samples_.push_back({call.asked, call.response.last_seq()});
    }
    if (!stopping_) return Ask(stub);
    --running_;
  }

  const RunningStack& stack_;
  const std::string topic_;
  std::vector<std::unique_ptr<v1::FeedService::Stub>> stubs_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> running_ = 0;
  std::atomic<int> failures_ = 0;
  mutable absl::Mutex mutex_;
  std::vector<Sample> samples_ ABSL_GUARDED_BY(mutex_);
};

class TopicFeeds : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    stack_ = new RunningStack({.processes = {"server", "server-2", "relay", "worker-social", "worker-fanout"}});
    Client client = ClientOf(*stack_);
    v1::ApplyTypesRequest apply;
    v1::Type& type = *apply.add_types();
    type.set_name("news");
    type.set_weight(v1::WEIGHT_SOCIAL);
    type.set_routing_key("social.news");
    type.add_channels(v1::CHANNEL_IN_APP);
    type.mutable_in_app()->set_title("News of {{actor_id}}");
    ASSERT_OK(client.ApplyTypes(apply));
    ASSERT_TRUE(WaitFor([&] { return client.PublishEvent(News("first")).ok(); }));
  }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static std::string NewTopic() {
    static std::atomic<int> count = 0;
    return absl::StrCat("topic-", ++count);
  }
  static v1::PublishEventRequest News(const std::string& topic) {
    v1::PublishEventRequest request;
    request.set_type("news");
    request.set_actor_id("paper");
    request.mutable_audience()->set_topic(topic);
    return request;
  }
  void Publish(const std::string& topic, int count) {
    for (int i = 0; i < count; ++i) ASSERT_OK(client_.PublishEvent(News(topic)));
  }
  v1::ListTopicFeedResponse List(const std::string& topic, int page_size = 0, const std::string& page_token = "") {
    v1::ListTopicFeedRequest request;
    request.set_topic_id(topic);
    request.set_page_size(page_size);
    request.set_page_token(page_token);
    const auto page = client_.ListTopicFeed(request);
    EXPECT_OK(page);
    return page.ok() ? *page : v1::ListTopicFeedResponse();
  }
  bool WaitForLastSeq(const std::string& topic, int64_t seq) {
    return WaitFor([&] { return List(topic).last_seq() >= seq; }, absl::Seconds(30));
  }

  static RunningStack* stack_;
  Client client_ = ClientOf(*stack_);
};

RunningStack* TopicFeeds::stack_ = nullptr;

TEST_F(TopicFeeds, AreEmptyWhereNothingWasPublished) {
  const v1::ListTopicFeedResponse page = List(NewTopic());
  EXPECT_THAT(page.items(), SizeIs(0));
  EXPECT_EQ(page.last_seq(), 0);
}

TEST_F(TopicFeeds, AreListedNewestFirstInPagesThatFitTogether) {
  const std::string topic = NewTopic();
  Publish(topic, 5);
  ASSERT_TRUE(WaitForLastSeq(topic, 5));
  std::vector<int64_t> seqs;
  std::string page_token;
  do {
    const v1::ListTopicFeedResponse page = List(topic, /*page_size=*/2, page_token);
    EXPECT_EQ(page.last_seq(), 5);
    for (const v1::FeedItem& item : page.items()) {
      EXPECT_EQ(item.title(), "News of paper");
      EXPECT_FALSE(item.read());
      seqs.push_back(item.seq());
    }
    page_token = page.next_page_token();
  } while (!page_token.empty());
  EXPECT_THAT(seqs, ElementsAre(5, 4, 3, 2, 1));
}

TEST_F(TopicFeeds, AreStreamedByEveryServerWithoutAGap) {
  const std::string topic = NewTopic();
  Publish(topic, 10);
  ASSERT_TRUE(WaitForLastSeq(topic, 10));
  TopicStream first(*stack_, "server", topic);
  TopicStream second(*stack_, "server-2", topic);
  Publish(topic, 40);
  ASSERT_TRUE(first.WaitForSeq(50));
  ASSERT_TRUE(second.WaitForSeq(50));
  EXPECT_THAT(first.seqs(), ElementsAreArray(CountUpTo(50)));
  EXPECT_THAT(second.seqs(), ElementsAreArray(CountUpTo(50)));
}

TEST_F(TopicFeeds, GoOnOnAnotherServerAfterAListOrAStream) {
  const std::string topic = NewTopic();
  Publish(topic, 5);
  ASSERT_TRUE(WaitForLastSeq(topic, 5));
  TopicStream listed(*stack_, "server-2", topic, List(topic).last_seq());
  Publish(topic, 5);
  ASSERT_TRUE(listed.WaitForSeq(8));
  const int64_t left_at = listed.seqs().back();
  TopicStream resumed(*stack_, "server", topic, left_at);
  Publish(topic, 5);
  ASSERT_TRUE(listed.WaitForSeq(15));
  ASSERT_TRUE(resumed.WaitForSeq(15));
  std::vector<int64_t> expected = CountUpTo(15);
  EXPECT_THAT(listed.seqs(), ElementsAreArray(expected.begin() + 5, expected.end()));
  EXPECT_THAT(resumed.seqs(), ElementsAreArray(expected.begin() + left_at, expected.end()));
}

TEST_F(TopicFeeds, AreReadByAThousandAtOnceWithAFewQueriesWhileTheyGrow) {
  const std::string topic = NewTopic();
  Publish(topic, 1);
  ASSERT_TRUE(WaitForLastSeq(topic, 1));
  TopicStream stream(*stack_, "server", topic);
  const auto queries = [&] {
    double sum = 0;
    for (const std::string& server : kServers) sum += MetricSum(*stack_, server, "carillon_feed_queries_total");
    return sum;
  };
  const double queries_before = queries();
  const absl::Time begin = absl::Now();
  Herd first(*stack_, "server", topic, 500);
  Herd second(*stack_, "server-2", topic, 500);
  // Each is seen before the next one goes, so writes go on all the time.
  for (int i = 2; i <= 30; ++i) {
    Publish(topic, 1);
    ASSERT_TRUE(stream.WaitForSeq(i));
    ASSERT_TRUE(WaitFor([&] { return absl::Now() > begin + i * absl::Milliseconds(100); }));
  }
  first.Stop();
  second.Stop();
  const absl::Duration elapsed = absl::Now() - begin;
  const double made = queries() - queries_before;

  std::vector<Herd::Sample> samples = first.samples();
  const std::vector<Herd::Sample> others = second.samples();
  samples.insert(samples.end(), others.begin(), others.end());
  // How long the stream had shown what a read lacked when it was asked for.
  absl::Duration stalest;
  for (const Herd::Sample& sample : samples) {
    stalest = std::max(stalest, sample.asked - stream.ArrivalAfter(sample.last_seq));
  }
  RecordProperty("reads", static_cast<int>(samples.size()));
  RecordProperty("queries", static_cast<int>(made));
  RecordProperty("stalest_ms", static_cast<int>(absl::ToInt64Milliseconds(stalest)));
  EXPECT_EQ(first.failures() + second.failures(), 0);
  EXPECT_THAT(samples, SizeIs(Ge(1000u)));
  EXPECT_LT(stalest, absl::Seconds(1));
  // Not more than one each 300 ms on each server, whoever asks.
  EXPECT_LE(made, 2 * (elapsed / absl::Milliseconds(300) + 2));
}

}  // namespace
}  // namespace carillon::testing
