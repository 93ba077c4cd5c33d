// Lists and counters of feeds over a real gRPC server, with a store in memory.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <future>

#include "absl/strings/str_cat.h"
#include "carillon/domain/event.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/server/feed_server_fixture.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using testing::Key;
using testing::WaitFor;

FeedKey TopicKey(const std::string& topic) { return TopicFeedKey(AppId(7), topic); }

template <typename Response>
std::vector<int64_t> Seqs(const Response& response) {
  std::vector<int64_t> seqs;
  for (const v1::FeedItem& item : response.items()) seqs.push_back(item.seq());
  return seqs;
}

// Three of each object that is asked for.
class FixedReactions final : public ReactionStore {
 public:
  absl::StatusOr<int64_t> TakeVersions() override { return absl::UnimplementedError(""); }
  absl::Status Enqueue(absl::Span<const ReactionRow>) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::vector<ReactionChange>> Apply(absl::Span<const Reaction>, Render) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<GatherResult> Gather(absl::Span<const GatheredNotification>, Render) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::vector<std::optional<GatheredWindow>>> ReadWindows(absl::Span<const DueWindow>) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<int> EndWindows(absl::Span<const WindowEnd>, BeginDeliveries) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::vector<ReactionCounter>> Counters(AppId app, absl::Span<const std::string> object_ids) override {
    EXPECT_EQ(app, AppId(7));
    std::vector<ReactionCounter> counters;
    for (const std::string& id : object_ids) counters.push_back({.object_id = id, .kind = "like", .count = 3});
    return counters;
  }
  absl::StatusOr<RequeuedReactions> RequeueIdle(absl::Time, int) override { return absl::UnimplementedError(""); }
};

class FeedServiceTest : public testing::FeedServerTest {
 protected:
  // Answers of one call, and its status.
  template <typename Response>
  struct Answer {
    grpc::Status status;
    Response response;
  };

  Answer<v1::ListFeedResponse> List(const v1::ListFeedRequest& request, const std::string& app_key = "key") {
    grpc::ClientContext context;
    Authorise(context, app_key);
    Answer<v1::ListFeedResponse> answer;
    answer.status = v1::FeedService::NewStub(channel_)->ListFeed(&context, request, &answer.response);
    return answer;
  }
  Answer<v1::ListFeedResponse> List(const std::string& user) {
    v1::ListFeedRequest request;
    request.set_user_id(user);
    return List(request);
  }

  Answer<v1::ListTopicFeedResponse> ListTopic(const v1::ListTopicFeedRequest& request) {
    grpc::ClientContext context;
    Authorise(context);
    Answer<v1::ListTopicFeedResponse> answer;
    answer.status = v1::FeedService::NewStub(channel_)->ListTopicFeed(&context, request, &answer.response);
    return answer;
  }
  Answer<v1::ListTopicFeedResponse> ListTopic(const std::string& topic) {
    v1::ListTopicFeedRequest request;
    request.set_topic_id(topic);
    return ListTopic(request);
  }

  Answer<v1::GetCountersResponse> GetCounters(const std::vector<std::string>& object_ids) {
    grpc::ClientContext context;
    Authorise(context);
    v1::GetCountersRequest request;
    for (const std::string& id : object_ids) request.add_object_ids(id);
    Answer<v1::GetCountersResponse> answer;
    answer.status = v1::FeedService::NewStub(channel_)->GetCounters(&context, request, &answer.response);
    return answer;
  }

  double Queries(const std::string& feed) {
    return metrics_.Counter("carillon_feed_queries_total", "", {{"feed", feed}}).Value();
  }
};

TEST_F(FeedServiceTest, ListsAFeedInPagesThatFitTogether) {
  StartServer();
  for (int i = 0; i < 5; ++i) store_.Append(Key("ada"));
  v1::ListFeedRequest request;
  request.set_user_id("ada");
  request.set_page_size(2);
  std::vector<int64_t> seqs;
  do {
    const auto page = List(request);
    ASSERT_TRUE(page.status.ok()) << page.status.error_message();
    for (const int64_t seq : Seqs(page.response)) seqs.push_back(seq);
    request.set_page_token(page.response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(seqs, ElementsAre(5, 4, 3, 2, 1));
}

TEST_F(FeedServiceTest, RefusesFaultyRequestsForLists) {
  StartServer();
  EXPECT_EQ(List("").status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(List("\x01topic/news").status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ListTopic("").status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::ListTopicFeedRequest request;
  request.set_topic_id("news");
  request.set_page_size(-1);
  EXPECT_EQ(ListTopic(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.set_page_size(1);
  request.set_page_token("x");
  EXPECT_EQ(ListTopic(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(FeedServiceTest, RefusesCallersWithoutCredentialsOrScope) {
  StartServer();
  v1::ListFeedRequest request;
  request.set_user_id("ada");
  EXPECT_EQ(List(request, "nobody").status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(List(request, "sender").status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(FeedServiceTest, TellsAFailureOfTheStore) {
  StartServer();
  store_.SetFailure(error::BackendUnavailable("postgresql", "away"));
  const grpc::Status status = List("ada").status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(status.error_details().empty());
}

TEST_F(FeedServiceTest, WhoAsksWhileAReadIsUnderWaySeesWhatWasWrittenSince) {
  StartServer();
  store_.Append(Key("ada"));
  store_.SetBlocked(true);
  std::vector<std::future<std::vector<int64_t>>> lists;
  const auto list = [this] { return Seqs(List("ada").response); };
  lists.push_back(std::async(std::launch::async, list));
  ASSERT_TRUE(WaitFor([&] { return store_.list_reads() == 1; }));
  store_.Append(Key("ada"));
  for (int i = 0; i < 20; ++i) lists.push_back(std::async(std::launch::async, list));
  store_.SetBlocked(false);
  EXPECT_THAT(lists.front().get(), ElementsAre(1));
  for (size_t i = 1; i < lists.size(); ++i) EXPECT_THAT(lists[i].get(), ElementsAre(2, 1));
  EXPECT_EQ(store_.list_reads(), Queries("recipient"));
}

TEST_F(FeedServiceTest, ListsATopicWithTheNumberToSubscribeAfter) {
  StartServer();
  for (int i = 0; i < 3; ++i) store_.Append(TopicKey("news"));
  const auto page = ListTopic("news");
  ASSERT_TRUE(page.status.ok()) << page.status.error_message();
  EXPECT_THAT(Seqs(page.response), ElementsAre(3, 2, 1));
  EXPECT_EQ(page.response.last_seq(), 3);
  EXPECT_EQ(page.response.next_page_token(), "");
}

TEST_F(FeedServiceTest, ListsATopicThatHasNothing) {
  StartServer();
  const auto page = ListTopic("silence");
  ASSERT_TRUE(page.status.ok()) << page.status.error_message();
  EXPECT_THAT(Seqs(page.response), ElementsAre());
  EXPECT_EQ(page.response.last_seq(), 0);
}

TEST_F(FeedServiceTest, TellsANumberOfATopicThatAStreamCanStartFromEvenIfItsNewestItemsAreGone) {
  StartServer();
  for (int i = 0; i < 3; ++i) store_.Append(TopicKey("news"));
  store_.Expire(TopicKey("news"), 3);
  const auto page = ListTopic("news");
  EXPECT_THAT(Seqs(page.response), ElementsAre());
  EXPECT_EQ(page.response.last_seq(), 3);
}

TEST_F(FeedServiceTest, KeepsTheNumberOfATopicThroughItsPages) {
  StartServer();
  for (int i = 0; i < 3; ++i) store_.Append(TopicKey("news"));
  v1::ListTopicFeedRequest request;
  request.set_topic_id("news");
  request.set_page_size(2);
  const auto first = ListTopic(request);
  store_.Append(TopicKey("news"));
  request.set_page_token(first.response.next_page_token());
  const auto second = ListTopic(request);
  EXPECT_THAT(Seqs(first.response), ElementsAre(3, 2));
  EXPECT_THAT(Seqs(second.response), ElementsAre(1));
  EXPECT_EQ(second.response.last_seq(), 3);
}

TEST_F(FeedServiceTest, ServesATopicFromItsCacheForAMoment) {
  StartServer();
  store_.Append(TopicKey("news"));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ListTopic("news").response.last_seq(), 1);
  // Each at most 300 ms old: a slow machine may need some.
  EXPECT_LE(Queries("topic"), 20);
  EXPECT_EQ(store_.list_reads(), Queries("topic"));
  store_.Append(TopicKey("news"));
  EXPECT_TRUE(WaitFor([&] { return ListTopic("news").response.last_seq() == 2; }, absl::Seconds(1)));
}

TEST_F(FeedServiceTest, TopicsAndRecipientsOfOneNameAreNotMixed) {
  StartServer();
  store_.Append(TopicKey("ada"));
  EXPECT_THAT(Seqs(List("ada").response), ElementsAre());
  EXPECT_THAT(Seqs(ListTopic("ada").response), ElementsAre(1));
}

TEST_F(FeedServiceTest, StreamsATopic) {
  StartServer();
  store_.Append(TopicKey("news"));
  store_.Append(TopicKey("news"));
  const auto call = SubscribeTopic("news", 1);
  v1::SubscribeTopicResponse event;
  ASSERT_TRUE(call->reader->Read(&event));
  EXPECT_EQ(event.seq(), 2);
  EXPECT_EQ(event.item().title(), "item 2");
  AppendAndAnnounce(TopicKey("news"));
  ASSERT_TRUE(call->reader->Read(&event));
  EXPECT_EQ(event.seq(), 3);
}

TEST_F(FeedServiceTest, RefusesFaultyRequestsForTopicStreams) {
  StartServer();
  EXPECT_EQ(SubscribeTopic("", 0)->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(SubscribeTopic("news", -1)->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(FeedServiceTest, TellsTheCountersOfObjects) {
  reactions_ = std::make_shared<FixedReactions>();
  StartServer();
  const auto answer = GetCounters({"b", "a"});
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  std::vector<std::string> counters;
  for (const v1::Counter& counter : answer.response.counters()) {
    counters.push_back(absl::StrCat(counter.object_id(), " ", counter.kind(), " ", counter.count()));
  }
  EXPECT_THAT(counters, ElementsAre("b like 3", "a like 3"));
}

TEST_F(FeedServiceTest, RefusesFaultyRequestsForCounters) {
  reactions_ = std::make_shared<FixedReactions>();
  StartServer();
  EXPECT_EQ(GetCounters({}).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(GetCounters({"a", ""}).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(GetCounters(std::vector<std::string>(501, "a")).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(GetCounters(std::vector<std::string>(500, "a")).status.ok());
}

}  // namespace
}  // namespace carillon
