#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/server/raw_client.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::Not;
using testing::RawClient;
using ::testing::StartsWith;
using testing::StatusIs;
using testing::WaitFor;

// Says what was asked; some paths are special.
class EchoHandler final : public HttpHandler {
 public:
  ~EchoHandler() override {
    for (std::thread& thread : threads_) thread.join();
  }

  void Handle(HttpRequest request, HttpRespond respond) override {
    if (request.path == "/dropped") return;
    if (request.path == "/held") {
      absl::MutexLock lock(&mutex_);
      held_ = std::move(respond);
      request.client->OnGone([this] { is_client_gone_ = true; });
      return;
    }
    if (request.path == "/injected") {
      HttpResponse response = NoContent();
      response.headers.emplace_back("Location", "x\r\nSet-Cookie: a=b");
      return respond(std::move(response));
    }
    const std::string text = absl::StrCat(request.method, " ", request.path, "?", request.query, " ",
                                          request.Header("X-Word"), " ", request.body.size());
    if (request.path != "/elsewhere") return respond(TextResponse(200, text));
    absl::MutexLock lock(&mutex_);
    threads_.emplace_back([respond = std::move(respond), text] { respond(TextResponse(200, text)); });
  }

  bool is_client_gone() const { return is_client_gone_; }
  bool IsHolding() {
    absl::MutexLock lock(&mutex_);
    return held_ != nullptr;
  }
  void Release() {
    HttpRespond respond;
    {
      absl::MutexLock lock(&mutex_);
      std::swap(respond, held_);
    }
    if (respond != nullptr) respond(TextResponse(200, "released"));
  }

 private:
  std::atomic<bool> is_client_gone_ = false;
  absl::Mutex mutex_;
  HttpRespond held_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
};

class HttpServerTest : public ::testing::Test {
 protected:
  void StartServer(HttpServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    server_.emplace(options, handler_, http_metrics_, clock_);
    ASSERT_OK_AND_ASSIGN(port_, server_->Start());
  }
  void TearDown() override {
    if (server_.has_value()) server_->Stop();
  }
  double connections() { return http_metrics_.connections().Value(); }

  Metrics metrics_;
  HttpMetrics http_metrics_{metrics_};
  testing::SimulatedClock clock_;
  int port_ = 0;
  EchoHandler handler_;
  std::optional<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersWithLengthDateAndSecurityHeaders) {
  StartServer();
  RawClient client(port_);
  client.Send("POST /a/b?c=d HTTP/1.1\r\nHost: h\r\nx-word: hi\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
  EXPECT_THAT(client.Read(),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"),
                    HasSubstr("X-Content-Type-Options: nosniff\r\n"), HasSubstr("Cache-Control: no-store\r\n"),
                    HasSubstr("Content-Length: 19\r\n"), EndsWith("\r\n\r\nPOST /a/b?c=d hi 3\n")));
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInTheirOrder) {
  StartServer();
  RawClient client(port_);
  client.Send(
      "GET /elsewhere?1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy"
      "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string text = client.Read();
  const size_t first = text.find("GET /elsewhere?1");
  const size_t second = text.find("POST /2?");
  const size_t third = text.find("GET /3?");
  ASSERT_NE(third, std::string::npos) << text;
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST_F(HttpServerTest, KeepsTheConnectionForTheNextRequest) {
  StartServer();
  RawClient client(port_);
  for (int i = 0; i < 3; ++i) {
    client.Send(absl::StrCat("GET /", i, " HTTP/1.1\r\nHost: h\r\n\r\n"));
    const std::string end = absl::StrCat("GET /", i, "?  0\n");
    EXPECT_THAT(client.Read(end), EndsWith(end));
  }
  EXPECT_EQ(connections(), 1);
}

TEST_F(HttpServerTest, SendsNoBodyToHead) {
  StartServer();
  RawClient client(port_);
  client.Send("HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.Read(), AllOf(HasSubstr("Content-Length: 12\r\n"), EndsWith("\r\n\r\n")));
}

TEST_F(HttpServerTest, AnswersADroppedRequestAndAnUncleanHeaderWith500) {
  StartServer();
  for (const char* path : {"/dropped", "/injected"}) {
    RawClient client(port_);
    client.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    EXPECT_THAT(client.Read(),
                AllOf(StartsWith("HTTP/1.1 500 "), HasSubstr(R"("code":"INTERNAL")"), Not(HasSubstr("Set-Cookie"))));
  }
}

TEST_F(HttpServerTest, RefusesWhatBreaksALimitOrTheProtocol) {
  StartServer({.max_header_bytes = 1024, .max_body_bytes = 100});
  const std::string long_header = absl::StrCat("X: ", std::string(2000, 'x'), "\r\n");
  const std::string chunk = absl::StrCat("c8\r\n", std::string(200, 'x'), "\r\n0\r\n\r\n");
  for (const auto& [request, status] : std::vector<std::pair<std::string, std::string>>{
           {absl::StrCat("GET / HTTP/1.1\r\nHost: h\r\n", long_header, "\r\n"), "431"},
           {absl::StrCat("GET /", std::string(2000, 'p'), " HTTP/1.1\r\nHost: h\r\n\r\n"), "431"},
           {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", "413"},
           {absl::StrCat("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", chunk), "413"},
           {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "400"},
           {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400"},
           {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "400"},
           {"no http at all\r\n\r\n", "400"},
           {"GET / HTTP/3.7\r\nHost: h\r\n\r\n", "400"}}) {
    RawClient client(port_);
    client.Send(request);
    EXPECT_THAT(client.Read(), AllOf(StartsWith(absl::StrCat("HTTP/1.1 ", status, " ")),
                                     HasSubstr("Connection: close\r\n"), HasSubstr("\"code\"")))
        << request.substr(0, 100);
  }
}

TEST_F(HttpServerTest, TellsALargeSenderWhyItIsRefused) {
  StartServer();
  RawClient client(port_);
  const std::string body(2 * 1024 * 1024, 'x');
  client.Send(absl::StrCat("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
  EXPECT_THAT(client.Read("}"), StartsWith("HTTP/1.1 413 "));
}

TEST_F(HttpServerTest, TakesABodyOfExactlyTheLimit) {
  StartServer({.max_body_bytes = 100});
  RawClient client(port_);
  client.Send(absl::StrCat("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\nConnection: close\r\n\r\n",
                           std::string(100, 'x')));
  EXPECT_THAT(client.Read(), EndsWith("POST /?  100\n"));
}

TEST_F(HttpServerTest, GivesLeaveToWhoWaitsWithTheBody) {
  StartServer();
  RawClient client(port_);
  client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.Read("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue\r\n"));
  client.Send("ok");
  EXPECT_THAT(client.Read(), EndsWith("POST /?  2\n"));
}

TEST_F(HttpServerTest, GivesNoPlaceToWhoHoldsTheBodyBack) {
  StartServer({.max_requests = 1, .max_large_bodies = 1});
  const auto ask = [](size_t length) {
    return absl::StrCat("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: ",
                        length, "\r\n\r\n");
  };
  RawClient small(port_);
  small.Send(ask(1));
  EXPECT_THAT(small.Read("\r\n\r\n"), StartsWith("HTTP/1.1 100 "));
  RawClient large(port_);
  large.Send(ask(20'000));
  EXPECT_THAT(large.Read("\r\n\r\n"), StartsWith("HTTP/1.1 100 "));
  RawClient second(port_);
  second.Send(ask(20'000));
  EXPECT_THAT(second.Read(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Retry-After: 5\r\n")));
  small.Send("x");
  EXPECT_THAT(small.Read(), EndsWith("POST /?  1\n"));
  large.Send(std::string(20'000, 'x'));
  EXPECT_THAT(large.Read(), EndsWith("POST /?  20000\n"));
}

TEST_F(HttpServerTest, TellsThatTheClientOfARequestIsGone) {
  StartServer();
  auto client = std::make_unique<RawClient>(port_);
  client->Send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(WaitFor([&] { return handler_.IsHolding(); }));
  client.reset();
  EXPECT_TRUE(WaitFor([&] { return handler_.is_client_gone(); }));
  handler_.Release();
  EXPECT_TRUE(WaitFor([&] { return connections() == 0; }));
}

TEST_F(HttpServerTest, KeepsWhatComesBeforeTheAnswerForTheNextRequest) {
  StartServer();
  RawClient client(port_);
  client.Send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(WaitFor([&] { return handler_.IsHolding(); }));
  client.Send("GET /2 HTTP/1.1\r\nHost: h\r\n");
  handler_.Release();
  EXPECT_THAT(client.Read("released\n"), StartsWith("HTTP/1.1 200 "));
  client.Send("Connection: close\r\n\r\n");
  EXPECT_THAT(client.Read(), EndsWith("GET /2?  0\n"));
  EXPECT_FALSE(handler_.is_client_gone());
}

TEST_F(HttpServerTest, ClosesConnectionsThatAreIdleOrSlow) {
  StartServer({.idle_timeout = absl::Milliseconds(200), .read_timeout = absl::Milliseconds(200)});
  RawClient silent(port_);
  RawClient slow_header(port_);
  RawClient slow_body(port_);
  slow_header.Send("GET / HTTP/1.1\r\nHo");
  slow_body.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(silent.Read(), IsEmpty());
  EXPECT_THAT(slow_header.Read(), IsEmpty());
  EXPECT_THAT(slow_body.Read(), IsEmpty());
  EXPECT_TRUE(WaitFor([&] { return connections() == 0; }));
}

TEST_F(HttpServerTest, ServesManyConnectionsAndClosesThoseBeyondTheLimit) {
  StartServer({.max_connections = 50});
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(std::make_unique<RawClient>(port_));
  ASSERT_TRUE(WaitFor([&] { return connections() == 50; }));
  EXPECT_THAT(RawClient(port_).Read(), IsEmpty());
  EXPECT_EQ(http_metrics_.refused().Value(), 1);
  for (const auto& client : clients) client->Send("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  for (const auto& client : clients) EXPECT_THAT(client->Read(), StartsWith("HTTP/1.1 200 "));
  clients.clear();
  ASSERT_TRUE(WaitFor([&] { return connections() == 0; }));
  RawClient again(port_);
  again.Send("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(again.Read(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, LetsWhatIsUnderWayBeAnsweredWhenItStops) {
  StartServer();
  RawClient idle(port_);
  RawClient busy(port_);
  busy.Send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(WaitFor([&] { return handler_.IsHolding() && connections() == 2; }));
  std::thread stopping([&] { server_->Stop(); });
  EXPECT_THAT(idle.Read(), IsEmpty());
  handler_.Release();
  EXPECT_THAT(busy.Read(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith("released\n")));
  stopping.join();
}

TEST_F(HttpServerTest, StopsInTimeThoughARequestIsNeverAnswered) {
  StartServer({.drain_time = absl::Milliseconds(100)});
  RawClient client(port_);
  client.Send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(WaitFor([&] { return handler_.IsHolding(); }));
  const absl::Time begin = absl::Now();
  server_->Stop();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
  handler_.Release();
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  for (const char* listen :
       {"", "127.0.0.1", "localhost:80", "127.0.0.1:x", "127.0.0.1:70000", "[::1:80", "::1:80", "[127.0.0.1]:80"}) {
    HttpServer server({.listen = listen}, handler_, http_metrics_, clock_);
    EXPECT_THAT(server.Start(), StatusIs(absl::StatusCode::kInvalidArgument)) << listen;
  }
  StartServer();
  HttpServer second({.listen = absl::StrCat("127.0.0.1:", port_)}, handler_, http_metrics_, clock_);
  EXPECT_THAT(second.Start(), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace carillon
