// Subscribe over a real gRPC server, with a store in memory.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "carillon/runtime/secrets.h"
#include "server/api/feed_service.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/server/in_memory_feed_store.h"

namespace carillon {
namespace {

using testing::InMemoryFeedStore;
using testing::WaitFor;
using Event = v1::SubscribeResponse;

class OneAppStore final : public AppStore {
 public:
  absl::StatusOr<AppCredentials> Find(const std::string& app_key) override {
    if (app_key != "key" && app_key != "sender") return absl::NotFoundError("no such app");
    const std::string scope = app_key == "key" ? "feed" : "send";
    return AppCredentials{.app = {.id = AppId(7), .name = "app", .key = app_key, .scopes = {scope}, .create_time = {}},
                          .secret_hashes = {HashSecret("secret")}};
  }
  absl::StatusOr<App> Create(const App&, const std::string&) override { return absl::UnimplementedError(""); }
  absl::Status AddSecret(const std::string&, const std::string&) override { return absl::UnimplementedError(""); }
};

class NoPublisher final : public LivePublisher {
 public:
  absl::Status Publish(absl::Span<const LiveMessage>) override { return absl::UnavailableError("no bus"); }
};

FeedKey Key(std::string recipient) { return {.app = AppId(7), .recipient = RecipientId(std::move(recipient))}; }

class SubscribeCallTest : public ::testing::Test {
 protected:
  void StartServer(LiveHub::Options options = {}) {
    options.timing.slow_client_grace = absl::Milliseconds(100);
    hub_.emplace(store_, metrics_, options);
    hub_->Start();
    service_.emplace(calls_, std::shared_ptr<FeedStore>(std::shared_ptr<void>(), &store_), *hub_, publisher_);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&*service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    channel_ = grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
  }

  void TearDown() override {
    hub_->Stop();
    server_->Shutdown(absl::ToChronoTime(absl::Now() + absl::Seconds(1)));
    EXPECT_EQ(hub_->stream_count(), 0u);
  }

  // A call with a client's credentials; the stream ends with it.
  struct Call {
    ~Call() { context.TryCancel(); }
    grpc::Status Finish() {
      Event rest;
      while (reader->Read(&rest)) {
      }
      return reader->Finish();
    }
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<Event>> reader;
  };

  std::unique_ptr<Call> Subscribe(const std::string& user, int64_t after_seq, const std::string& app_key = "key") {
    auto call = std::make_unique<Call>();
    call->context.AddMetadata("x-app-key", app_key);
    call->context.AddMetadata("x-app-secret", "secret");
    call->context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    v1::SubscribeRequest request;
    request.set_user_id(user);
    request.set_after_seq(after_seq);
    call->reader = v1::FeedService::NewStub(channel_)->Subscribe(&call->context, request);
    return call;
  }

  void AppendAndAnnounce(const std::string& user) {
    const FeedKey key = Key(user);
    hub_->OnLiveMessage({.key = key, .payload = EncodeLiveUpdate({store_.Append(key)})});
  }

  InMemoryFeedStore store_;
  Metrics metrics_;
  SystemClock clock_;
  Executor executor_{2, 100};
  Authenticator authenticator_{std::make_shared<OneAppStore>(), executor_, clock_};
  RpcMetrics rpc_metrics_{metrics_};
  ServerCalls calls_{authenticator_, executor_, rpc_metrics_, clock_};
  NoPublisher publisher_;
  std::optional<LiveHub> hub_;
  std::optional<FeedServiceImpl> service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

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
