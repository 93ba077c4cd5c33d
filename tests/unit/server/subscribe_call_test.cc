// Subscribe over a real gRPC server, with a store in memory.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/server/feed_server_fixture.h"

namespace carillon {
namespace {

using testing::Key;
using testing::WaitFor;
using Event = v1::SubscribeResponse;

class SubscribeCallTest : public testing::FeedServerTest {};

TEST_F(SubscribeCallTest, StreamsTheBacklogAndThenLiveEvents) {
  StartServer();
  store_.Append(Key("ada"));
  store_.Append(Key("ada"));
  const auto call = Subscribe("ada", 1);
  Event event;
  ASSERT_TRUE(call->reader->Read(&event));
  EXPECT_EQ(event.seq(), 2);
  EXPECT_EQ(event.item().title(), "item 2");
  AppendAndAnnounce("ada");
  ASSERT_TRUE(call->reader->Read(&event));
  EXPECT_EQ(event.seq(), 3);
}

TEST_F(SubscribeCallTest, AnswersAsSoonAsTheStreamIsOpen) {
  StartServer();
  const auto call = Subscribe("ada", 0);
  call->reader->WaitForInitialMetadata();
  EXPECT_EQ(hub_->stream_count(), 1u);
}

TEST_F(SubscribeCallTest, ShowsReadMarkersOfMarkRead) {
  StartServer();
  store_.Append(Key("ada"));
  const auto call = Subscribe("ada", 1);
  call->reader->WaitForInitialMetadata();
  grpc::ClientContext context;
  context.AddMetadata("x-app-key", "key");
  context.AddMetadata("x-app-secret", "secret");
  v1::MarkReadRequest request;
  request.set_user_id("ada");
  request.set_up_to_seq(1);
  v1::MarkReadResponse response;
  ASSERT_TRUE(v1::FeedService::NewStub(channel_)->MarkRead(&context, request, &response).ok());
  EXPECT_EQ(response.seq(), 2);
  EXPECT_EQ(response.unread(), 0);
  Event event;
  ASSERT_TRUE(call->reader->Read(&event));
  EXPECT_EQ(event.seq(), 2);
  EXPECT_EQ(event.read_marker().up_to_seq(), 1);
}

TEST_F(SubscribeCallTest, RefusesCallersWithoutCredentialsOrScope) {
  StartServer();
  EXPECT_EQ(Subscribe("ada", 0, "nobody")->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Subscribe("ada", 0, "sender")->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(SubscribeCallTest, RefusesInvalidRequests) {
  StartServer();
  EXPECT_EQ(Subscribe("", 0)->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Subscribe("ada", -1)->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(SubscribeCallTest, RefusesTooManyStreamsOfARecipient) {
  LiveHub::Options options;
  options.max_streams_per_recipient = 1;
  StartServer(options);
  const auto first = Subscribe("ada", 0);
  first->reader->WaitForInitialMetadata();
  EXPECT_EQ(Subscribe("ada", 0)->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(SubscribeCallTest, EndsWithOkAfterResumeRequired) {
  StartServer();
  const auto call = Subscribe("ada", 5);
  Event event;
  ASSERT_TRUE(call->reader->Read(&event));
  EXPECT_EQ(event.resume_required().cause(), v1::ResumeRequired::CAUSE_UNKNOWN_SEQ);
  EXPECT_FALSE(call->reader->Read(&event));
  EXPECT_TRUE(call->reader->Finish().ok());
}

TEST_F(SubscribeCallTest, FreesTheStreamOfAClientThatGoesAway) {
  StartServer();
  const auto call = Subscribe("ada", 0);
  call->reader->WaitForInitialMetadata();
  ASSERT_EQ(hub_->stream_count(), 1u);
  call->context.TryCancel();
  EXPECT_TRUE(WaitFor([&] { return hub_->stream_count() == 0; }));
}

TEST_F(SubscribeCallTest, EndsStreamsWhenTheServerDrains) {
  StartServer();
  const auto call = Subscribe("ada", 0);
  call->reader->WaitForInitialMetadata();
  hub_->Stop();
  const grpc::Status status = call->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(status.error_details().empty());
}

TEST_F(SubscribeCallTest, TellsAClientThatReadsTooSlowly) {
  StartServer();
  const auto call = Subscribe("ada", 0);
  call->reader->WaitForInitialMetadata();
  Event event;
  AppendAndAnnounce("ada");
  ASSERT_TRUE(call->reader->Read(&event));
  // gRPC takes some megabytes on its own account; then the hub's buffer fills.
  for (int i = 0; i < 200'000 && metrics_.Counter("carillon_live_slow_clients_total", "").Value() == 0; ++i) {
    AppendAndAnnounce("ada");
  }
  ASSERT_TRUE(WaitFor([&] { return metrics_.Counter("carillon_live_slow_clients_total", "").Value() == 1; }));
  int64_t seq = event.seq();
  while (call->reader->Read(&event) && !event.has_resume_required()) ASSERT_EQ(event.seq(), ++seq);
  EXPECT_EQ(event.resume_required().cause(), v1::ResumeRequired::CAUSE_SLOW_CLIENT);
  EXPECT_EQ(event.seq(), seq);
  EXPECT_TRUE(call->Finish().ok());
}

TEST_F(SubscribeCallTest, CancelsAClientThatNeverTakesTheEnd) {
  LiveHub::Options options;
  options.timing.abandoned_after = absl::Milliseconds(100);
  StartServer(options);
  const auto call = Subscribe("ada", 0);
  call->reader->WaitForInitialMetadata();
  Event event;
  AppendAndAnnounce("ada");
  // Slow is only who was up to date once: a client still catching up is not cut.
  ASSERT_TRUE(call->reader->Read(&event));
  for (int i = 0; i < 200'000 && hub_->stream_count() == 1; ++i) AppendAndAnnounce("ada");
  EXPECT_TRUE(WaitFor([&] { return hub_->stream_count() == 0; }));
}

TEST_F(SubscribeCallTest, SurvivesClientsThatComeAndGo) {
  StartServer();
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 8; ++i) {
    clients.emplace_back([this, i] {
      std::mt19937 random(i);
      for (int n = 0; n < 40; ++n) {
        const auto call = Subscribe(absl::StrCat("user ", random() % 3), 0);
        Event event;
        for (uint32_t reads = random() % 10; reads > 0; --reads) {
          if (!call->reader->Read(&event)) break;
        }
        call->context.TryCancel();
        if (random() % 2 == 0) call->Finish();
      }
    });
  }
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int n = 0; !done; ++n) AppendAndAnnounce(absl::StrCat("user ", n % 3));
  });
  for (std::thread& client : clients) client.join();
  done = true;
  writer.join();
  EXPECT_TRUE(WaitFor([&] { return hub_->stream_count() == 0; }));
}

}  // namespace
}  // namespace carillon
