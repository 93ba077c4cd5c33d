// FeedService on a real gRPC server, with a store in memory.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "carillon/runtime/secrets.h"
#include "server/api/feed_service.h"
#include "tests/unit/server/in_memory_feed_store.h"

namespace carillon::testing {

// Its app 7 may use feeds as "key", and nothing but send as "sender".
class OneAppStore final : public AppStore {
 public:
  absl::StatusOr<AppCredentials> Find(const std::string& app_key) override {
    if (app_key != "key" && app_key != "sender") return absl::NotFoundError("no such app");
    const std::string scope = app_key == "key" ? "feed" : "send";
    return AppCredentials{.app = {.id = AppId(7), .name = "app", .key = app_key, .scopes = {scope}, .create_time = {}},
                          .secret_hashes = {HashSecret("secret")}};
  }
  absl::StatusOr<App> Create(const App&, const std::string&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<App> Update(const std::string&, const AppChanges&) override { return absl::UnimplementedError(""); }
  absl::Status AddSecret(const std::string&, const std::string&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<MovedClock> AdvanceClock(AppId, absl::Duration) override { return absl::UnimplementedError(""); }
  absl::StatusOr<bool> HasUndecided(AppId) override { return absl::UnimplementedError(""); }
};

// The system's, set forward by tests.
class MovableClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now() + absl::Seconds(ahead_.load()); }
  void Advance(absl::Duration duration) { ahead_ += absl::ToInt64Seconds(duration); }

 private:
  std::atomic<int64_t> ahead_ = 0;
};

class NoPublisher final : public LivePublisher {
 public:
  absl::Status Publish(absl::Span<const FeedKey>, absl::FunctionRef<std::string(size_t)>) override {
    return absl::UnavailableError("no bus");
  }
  absl::Status PublishSharedEvent(AppId) override { return absl::UnavailableError("no bus"); }
};

inline FeedKey Key(std::string recipient) { return {.app = AppId(7), .recipient = RecipientId(std::move(recipient))}; }

// Not thread-safe; what it starts and what its calls reach is.
class FeedServerTest : public ::testing::Test {
 protected:
  void StartServer(LiveHub::Options options = {}) {
    options.timing.slow_client_grace = absl::Milliseconds(100);
    hub_.emplace(store_, metrics_, options);
    hub_->Start();
    service_.emplace(calls_,
                     FeedServiceImpl::Parts{.store = std::shared_ptr<FeedStore>(std::shared_ptr<void>(), &store_),
                                            .reactions = reactions_,
                                            .hub = *hub_,
                                            .publisher = publisher_,
                                            .interactions = nullptr},
                     metrics_);
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
  template <typename Event>
  struct StreamCall {
    ~StreamCall() { context.TryCancel(); }
    grpc::Status Finish() {
      Event rest;
      while (reader->Read(&rest)) {
      }
      return reader->Finish();
    }
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<Event>> reader;
  };
  using Call = StreamCall<v1::SubscribeResponse>;
  using TopicCall = StreamCall<v1::SubscribeTopicResponse>;

  static void Authorise(grpc::ClientContext& context, const std::string& app_key = "key") {
    context.AddMetadata("x-app-key", app_key);
    context.AddMetadata("x-app-secret", "secret");
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
  }

  // As an end user of the app.
  void AuthoriseUser(grpc::ClientContext& context, const std::string& user, const std::string& app_key = "key") const {
    const std::string token = *tokens_.Issue({.app_key = app_key,
                                              .secret_id = absl::BytesToHexString(HashSecret("secret").substr(0, 6)),
                                              .user = user,
                                              .issue_time = clock_.Now(),
                                              .expire_time = clock_.Now() + absl::Minutes(15)});
    context.AddMetadata("authorization", "Bearer " + token);
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
  }

  std::unique_ptr<Call> Subscribe(const std::string& user, int64_t after_seq, const std::string& app_key = "key") {
    auto call = std::make_unique<Call>();
    Authorise(call->context, app_key);
    return Subscribe(std::move(call), user, after_seq);
  }

  std::unique_ptr<Call> SubscribeAs(const std::string& caller, const std::string& user, int64_t after_seq) {
    auto call = std::make_unique<Call>();
    AuthoriseUser(call->context, caller);
    return Subscribe(std::move(call), user, after_seq);
  }

  std::unique_ptr<Call> Subscribe(std::unique_ptr<Call> call, const std::string& user, int64_t after_seq) {
    v1::SubscribeRequest request;
    request.set_user_id(user);
    request.set_after_seq(after_seq);
    call->reader = v1::FeedService::NewStub(channel_)->Subscribe(&call->context, request);
    return call;
  }

  std::unique_ptr<TopicCall> SubscribeTopic(const std::string& topic, int64_t after_seq) {
    auto call = std::make_unique<TopicCall>();
    Authorise(call->context);
    v1::SubscribeTopicRequest request;
    request.set_topic_id(topic);
    request.set_after_seq(after_seq);
    call->reader = v1::FeedService::NewStub(channel_)->SubscribeTopic(&call->context, request);
    return call;
  }

  void AppendAndAnnounce(const FeedKey& key) {
    hub_->OnLiveMessage({.key = key, .payload = EncodeLiveUpdate({store_.Append(key)})});
  }
  void AppendAndAnnounce(const std::string& user) { AppendAndAnnounce(Key(user)); }

  InMemoryFeedStore store_;
  std::shared_ptr<ReactionStore> reactions_;
  Metrics metrics_;
  MovableClock clock_;
  Executor executor_{2, 100};
  const UserTokens tokens_{*MasterKey::FromHex(std::string(64, 'a')), TokenAlgorithm::kHs256};
  Authenticator authenticator_{std::make_shared<OneAppStore>(), executor_, clock_, tokens_};
  RpcMetrics rpc_metrics_{metrics_};
  ServerCalls calls_{authenticator_, executor_, rpc_metrics_, clock_};
  NoPublisher publisher_;
  std::optional<LiveHub> hub_;
  std::optional<FeedServiceImpl> service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace carillon::testing
