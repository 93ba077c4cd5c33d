// The RPCs and live feeds over a real HTTP port, with a store in memory.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/v1/admin_service.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "server/connect/connect_routes.h"
#include "server/connect/cors.h"
#include "server/connect/feed_event_routes.h"
#include "server/http/http_server.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/server/feed_server_fixture.h"
#include "tests/unit/server/raw_client.h"

namespace carillon::testing {

struct HttpAnswer {
  int status = 0;
  std::string head;
  std::string body;  // Without chunks.

  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false); }
};

inline std::string WithoutChunks(absl::string_view text) {
  std::string body;
  size_t size = 0;
  while (absl::SimpleHexAtoi(text.substr(0, text.find('\r')), &size) && size > 0) {
    text.remove_prefix(text.find('\n') + 1);
    body.append(text.data(), std::min(size, text.size()));
    text.remove_prefix(std::min(size + 2, text.size()));
  }
  return body;
}

inline HttpAnswer ParseAnswer(const std::string& text) {
  HttpAnswer answer;
  const size_t end = text.find("\r\n\r\n");
  EXPECT_NE(end, std::string::npos) << text;
  if (end == std::string::npos) return answer;
  answer.head = text.substr(0, end + 2);
  EXPECT_TRUE(absl::SimpleAtoi(answer.head.substr(9, 3), &answer.status));
  const bool is_chunked = absl::StrContains(answer.head, "Transfer-Encoding: chunked");
  answer.body = is_chunked ? WithoutChunks(absl::string_view(text).substr(end + 4)) : text.substr(end + 4);
  return answer;
}

// Of AdminService, two methods: one that sends all messages as fast as they go, then the
// end, and one that holds a call. Thread-safe.
class BurstingAdmin final : public v1::AdminService::CallbackService {
 public:
  static constexpr int kMessages = 300;

  // Until Release, or until its client is gone.
  grpc::ServerUnaryReactor* ListQueues(grpc::CallbackServerContext*, const v1::ListQueuesRequest*,
                                       v1::ListQueuesResponse*) override {
    absl::MutexLock lock(&mutex_);
    held_ = new HeldCall(*this);
    return held_;
  }
  bool IsHolding() {
    absl::MutexLock lock(&mutex_);
    return held_ != nullptr;
  }
  void Release() { Finish(grpc::Status::OK); }
  int cancelled() const { return cancelled_; }

  grpc::ServerWriteReactor<v1::ReplayDeadLettersResponse>* ReplayDeadLetters(
      grpc::CallbackServerContext* context, const v1::ReplayDeadLettersRequest*) override {
    context->AddTrailingMetadata("x-note", "after all");
    context->AddTrailingMetadata("x-raw-bin", std::string("\0\1", 2));
    return new Burst();
  }

 private:
  class HeldCall final : public grpc::ServerUnaryReactor {
   public:
    explicit HeldCall(BurstingAdmin& admin) : admin_(admin) {}
    void OnCancel() override {
      ++admin_.cancelled_;
      admin_.Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    BurstingAdmin& admin_;
  };

  void Finish(const grpc::Status& status) {
    HeldCall* call = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      std::swap(call, held_);
    }
    if (call != nullptr) call->Finish(status);
  }

  class Burst final : public grpc::ServerWriteReactor<v1::ReplayDeadLettersResponse> {
   public:
    Burst() { OnWriteDone(true); }
    void OnWriteDone(bool ok) override {
      if (!ok || ++sent_ > kMessages) return Finish({grpc::StatusCode::ABORTED, "all sent"});
      message_.mutable_replay()->set_replay_id(absl::StrCat(sent_, std::string(5000, 'x')));
      StartWrite(&message_);
    }
    void OnDone() override { delete this; }

   private:
    int sent_ = 0;
    v1::ReplayDeadLettersResponse message_;
  };

  std::atomic<int> cancelled_ = 0;
  absl::Mutex mutex_;
  HeldCall* held_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

class ConnectTest : public FeedServerTest {
 protected:
  void StartAll(LiveHub::Options options = {}, const std::string& origins = "") {
    StartServer(options);
    grpc::ServerBuilder builder;
    builder.RegisterService(&*service_);
    builder.RegisterService(&admin_);
    in_process_ = builder.BuildAndStart();
    connect_.emplace(in_process_->InProcessChannel({}), json_, executor_, clock_);
    connect_->AddTo(router_, PublicServices(/*with_operations=*/true));
    events_.emplace(authenticator_, *hub_, json_);
    events_->AddTo(router_);
    cors_.emplace(*CorsPolicy::Parse(origins), router_, http_metrics_);
    http_.emplace(HttpServerOptions{.listen = "127.0.0.1:0"}, *cors_, http_metrics_, clock_);
    ASSERT_OK_AND_ASSIGN(port_, http_->Start());
  }

  void TearDown() override {
    hub_->Stop();
    if (http_.has_value()) {
      in_process_->Shutdown(absl::ToChronoTime(absl::Now() + absl::Seconds(1)));
      connect_->Stop();
      http_->Stop();
    }
    FeedServerTest::TearDown();
  }

  static std::vector<std::string> Credentials(const std::string& key = "key") {
    return {"x-app-key: " + key, "x-app-secret: secret"};
  }
  static std::string Request(const std::string& start, std::vector<std::string> headers, const std::string& body) {
    headers.insert(headers.end(), {"Host: h", absl::StrCat("Content-Length: ", body.size())});
    return absl::StrCat(start, " HTTP/1.1\r\n", absl::StrJoin(headers, "\r\n"), "\r\n\r\n", body);
  }
  HttpAnswer Ask(const std::string& start, std::vector<std::string> headers, const std::string& body = "") {
    headers.emplace_back("Connection: close");
    RawClient client(port_);
    client.Send(Request(start, std::move(headers), body));
    return ParseAnswer(client.Read());
  }
  // With an app's credentials, and more headers.
  HttpAnswer Post(const std::string& path, const std::string& type, const std::string& body,
                  const std::vector<std::string>& more = {}) {
    std::vector<std::string> headers = Credentials();
    headers.push_back("Content-Type: " + type);
    headers.insert(headers.end(), more.begin(), more.end());
    return Ask("POST /carillon.v1." + path, headers, body);
  }
  std::string TokenOf(const std::string& user, absl::Duration ttl = absl::Minutes(15)) const {
    return *tokens_.Issue({.app_key = "key",
                           .secret_id = absl::BytesToHexString(HashSecret("secret").substr(0, 6)),
                           .user = user,
                           .issue_time = clock_.Now(),
                           .expire_time = clock_.Now() + ttl});
  }

  BurstingAdmin admin_;
  std::unique_ptr<grpc::Server> in_process_;
  const MessageJson json_;
  std::optional<ConnectRoutes> connect_;
  std::optional<FeedEventRoutes> events_;
  HttpMetrics http_metrics_{metrics_};
  Router router_{http_metrics_};
  std::optional<Cors> cors_;
  std::optional<HttpServer> http_;
  int port_ = 0;
};

}  // namespace carillon::testing
