// FeedService for end users, over a real gRPC server.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "carillon/domain/limits.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/server/feed_server_fixture.h"

namespace carillon {
namespace {

using testing::Key;
using Event = v1::SubscribeResponse;

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  details.ParseFromString(status.error_details());
  for (const google::protobuf::Any& detail : details.details()) detail.UnpackTo(&info);
  return info.reason();
}

class UserFeedTest : public testing::FeedServerTest {
 protected:
  // Of streams whose callers are looked at all the time.
  void StartStrictServer() {
    LiveHub::Options options;
    options.permit_interval = absl::Milliseconds(10);
    StartServer(options);
  }

  template <typename Response, typename Request>
  grpc::Status Call(grpc::Status (v1::FeedService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const std::string& caller, const Request& request, Response* response) {
    grpc::ClientContext context;
    AuthoriseUser(context, caller);
    return (v1::FeedService::NewStub(channel_).get()->*method)(&context, request, response);
  }
};

TEST_F(UserFeedTest, ReachesItsOwnFeedWithAndWithoutItsName) {
  StartServer();
  store_.Append(Key("ada"));
  for (const char* user : {"", "ada"}) {
    v1::ListFeedRequest list;
    list.set_user_id(user);
    v1::ListFeedResponse page;
    ASSERT_TRUE(Call(&v1::FeedService::Stub::ListFeed, "ada", list, &page).ok());
    EXPECT_EQ(page.items_size(), 1);
    v1::GetFeedSummaryRequest ask;
    ask.set_user_id(user);
    v1::GetFeedSummaryResponse summary;
    ASSERT_TRUE(Call(&v1::FeedService::Stub::GetFeedSummary, "ada", ask, &summary).ok());
    EXPECT_EQ(summary.last_seq(), 1);
    const auto call = SubscribeAs("ada", user, 0);
    Event event;
    ASSERT_TRUE(call->reader->Read(&event));
    EXPECT_EQ(event.item().title(), "item 1");
  }
  v1::MarkReadRequest mark;
  mark.set_up_to_seq(1);
  v1::MarkReadResponse marked;
  ASSERT_TRUE(Call(&v1::FeedService::Stub::MarkRead, "ada", mark, &marked).ok());
  EXPECT_EQ(marked.unread(), 0);
}

TEST_F(UserFeedTest, ReachesNobodyElses) {
  StartServer();
  store_.Append(Key("ada"));
  EXPECT_EQ(ReasonOf(SubscribeAs("eve", "ada", 0)->Finish()), "NOT_YOURS");
  v1::ListFeedRequest list;
  list.set_user_id("ada");
  v1::ListFeedResponse page;
  EXPECT_EQ(ReasonOf(Call(&v1::FeedService::Stub::ListFeed, "eve", list, &page)), "NOT_YOURS");
  v1::MarkReadRequest mark;
  mark.set_user_id("ada");
  mark.set_up_to_seq(1);
  v1::MarkReadResponse marked;
  EXPECT_EQ(ReasonOf(Call(&v1::FeedService::Stub::MarkRead, "eve", mark, &marked)), "NOT_YOURS");
  EXPECT_EQ(store_.Summarize(Key("ada"))->unread, 1);
}

TEST_F(UserFeedTest, ReachesPublicFeeds) {
  StartServer();
  v1::ListTopicFeedRequest list;
  list.set_topic_id("news");
  v1::ListTopicFeedResponse page;
  EXPECT_TRUE(Call(&v1::FeedService::Stub::ListTopicFeed, "ada", list, &page).ok());
}

TEST_F(UserFeedTest, EndsItsStreamWithItsToken) {
  StartStrictServer();
  const auto of_user = SubscribeAs("ada", "", 0);
  const auto of_app = Subscribe("ada", 0);
  of_user->reader->WaitForInitialMetadata();
  of_app->reader->WaitForInitialMetadata();
  clock_.Advance(absl::Minutes(14));
  AppendAndAnnounce("ada");
  Event event;
  EXPECT_TRUE(of_user->reader->Read(&event));
  clock_.Advance(absl::Minutes(1) + limits::kTokenLeeway);
  const grpc::Status end = of_user->Finish();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ReasonOf(end), "TOKEN_EXPIRED");
  AppendAndAnnounce("ada");
  EXPECT_TRUE(of_app->reader->Read(&event));
  EXPECT_TRUE(of_app->reader->Read(&event));
  EXPECT_EQ(event.seq(), 2);
}

TEST_F(UserFeedTest, RefusesAnAppThatMayNotUseFeeds) {
  StartServer();
  auto call = std::make_unique<FeedServerTest::Call>();
  AuthoriseUser(call->context, "ada", "sender");
  EXPECT_EQ(ReasonOf(Subscribe(std::move(call), "ada", 0)->Finish()), "MISSING_SCOPE");
}

}  // namespace
}  // namespace carillon
