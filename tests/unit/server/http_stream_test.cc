// Answers whose bodies come over time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/http/http_server.h"
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
using ::testing::Not;
using testing::RawClient;
using ::testing::StartsWith;
using testing::WaitFor;

constexpr char kRequest[] = "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n";

// Writes what the test says; with `endless`, as much as goes out.
class ScriptedBody final : public HttpBodyProducer {
 public:
  explicit ScriptedBody(bool endless) : endless_(endless) {}

  void OnOpen(std::shared_ptr<HttpBodySink> sink) override {
    absl::MutexLock lock(&mutex_);
    sink_ = std::move(sink);
    if (endless_) sink_->Write(std::string(100'000, 'x'));
  }
  void OnWritten() override {
    absl::MutexLock lock(&mutex_);
    ++written_;
    if (endless_) sink_->Write(std::string(100'000, 'x'));
  }
  void OnEnd() override {
    absl::MutexLock lock(&mutex_);
    ++ends_;
    sink_.reset();
  }

  std::shared_ptr<HttpBodySink> sink() {
    EXPECT_TRUE(WaitFor([&] {
      absl::MutexLock lock(&mutex_);
      return sink_ != nullptr;
    }));
    absl::MutexLock lock(&mutex_);
    return sink_;
  }
  int written() {
    absl::MutexLock lock(&mutex_);
    return written_;
  }
  int ends() {
    absl::MutexLock lock(&mutex_);
    return ends_;
  }

 private:
  const bool endless_;
  absl::Mutex mutex_;
  std::shared_ptr<HttpBodySink> sink_ ABSL_GUARDED_BY(mutex_);
  int written_ ABSL_GUARDED_BY(mutex_) = 0;
  int ends_ ABSL_GUARDED_BY(mutex_) = 0;
};

// /stream and /endless are streams, /held is never answered, all else at once.
class StreamHandler final : public HttpHandler {
 public:
  void Handle(HttpRequest request, HttpRespond respond) override {
    absl::MutexLock lock(&mutex_);
    if (request.path == "/held") {
      held_.push_back(std::move(respond));
      return;
    }
    if (request.path == "/plain") return respond(TextResponse(200, "plain"));
    bodies_.push_back(std::make_shared<ScriptedBody>(request.path == "/endless"));
    HttpResponse response{
        .status = 200, .content_type = "text/event-stream", .body = "", .headers = {{"X-Origins", "all"}}};
    response.producer = bodies_.back();
    respond(std::move(response));
  }

  std::shared_ptr<ScriptedBody> body(size_t index = 0) {
    EXPECT_TRUE(WaitFor([&] {
      absl::MutexLock lock(&mutex_);
      return bodies_.size() > index;
    }));
    absl::MutexLock lock(&mutex_);
    return bodies_[index];
  }
  bool IsHolding() {
    absl::MutexLock lock(&mutex_);
    return !held_.empty();
  }
  void Release() {
    absl::MutexLock lock(&mutex_);
    held_.clear();
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::shared_ptr<ScriptedBody>> bodies_ ABSL_GUARDED_BY(mutex_);
  std::vector<HttpRespond> held_ ABSL_GUARDED_BY(mutex_);
};

class HttpStreamTest : public ::testing::Test {
 protected:
  void StartServer(HttpServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    server_.emplace(options, handler_, http_metrics_, clock_);
    ASSERT_OK_AND_ASSIGN(port_, server_->Start());
  }
  void TearDown() override {
    handler_.Release();
    if (server_.has_value()) server_->Stop();
    EXPECT_EQ(streams(), 0);
  }
  double streams() { return http_metrics_.streams().Value(); }
  double connections() { return http_metrics_.connections().Value(); }

  Metrics metrics_;
  HttpMetrics http_metrics_{metrics_};
  testing::SimulatedClock clock_;
  int port_ = 0;
  StreamHandler handler_;
  std::optional<HttpServer> server_;
};

TEST_F(HttpStreamTest, SendsEachPieceAsItComesAndSaysWhenItIsOut) {
  StartServer();
  RawClient client(port_);
  client.Send(kRequest);
  const auto body = handler_.body();
  EXPECT_THAT(client.Read("\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n"),
                    HasSubstr("Content-Type: text/event-stream\r\n"), HasSubstr("Connection: close\r\n"),
                    Not(HasSubstr("Content-Length"))));
  body->sink()->Write("first");
  EXPECT_EQ(client.Read("first\r\n"), "5\r\nfirst\r\n");
  ASSERT_TRUE(WaitFor([&] { return body->written() == 1; }));
  EXPECT_EQ(streams(), 1);
  body->sink()->Finish("last one");
  EXPECT_EQ(client.Read(), "8\r\nlast one\r\n0\r\n\r\n");
  ASSERT_TRUE(WaitFor([&] { return body->ends() == 1 && connections() == 0; }));
  EXPECT_EQ(body->written(), 1);
}

TEST_F(HttpStreamTest, AnEmptyPieceEndsNothing) {
  StartServer();
  RawClient client(port_);
  client.Send(kRequest);
  const auto body = handler_.body();
  body->sink()->Write("");
  ASSERT_TRUE(WaitFor([&] { return body->written() == 1; }));
  body->sink()->Write("x");
  EXPECT_THAT(client.Read("x\r\n"), EndsWith("\r\n\r\n1\r\nx\r\n"));
  ASSERT_TRUE(WaitFor([&] { return body->written() == 2; }));
  body->sink()->Finish("");
  EXPECT_EQ(client.Read(), "0\r\n\r\n");
}

TEST_F(HttpStreamTest, SendsOldClientsABodyThatEndsWithTheConnection) {
  StartServer();
  RawClient client(port_);
  client.Send("GET /stream HTTP/1.0\r\n\r\n");
  handler_.body()->sink()->Finish("all of it");
  EXPECT_THAT(client.Read(), AllOf(EndsWith("\r\n\r\nall of it"), Not(HasSubstr("chunked"))));
}

TEST_F(HttpStreamTest, LeavesAnIdleStreamAlone) {
  const absl::Duration limit = absl::Milliseconds(100);
  StartServer({.idle_timeout = limit, .read_timeout = limit, .write_timeout = limit});
  RawClient client(port_);
  client.Send(kRequest);
  (void)client.Read("\r\n\r\n");
  // Two idle connections, one after the other, are closed meanwhile.
  for (int i = 0; i < 2; ++i) EXPECT_THAT(RawClient(port_).Read(), IsEmpty());
  handler_.body()->sink()->Finish("still here");
  EXPECT_THAT(client.Read(), HasSubstr("still here"));
}

TEST_F(HttpStreamTest, CutsAStreamThatIsNotRead) {
  StartServer({.write_timeout = absl::Milliseconds(200)});
  RawClient client(port_);
  client.Send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto body = handler_.body();
  EXPECT_TRUE(WaitFor([&] { return body->ends() == 1 && connections() == 0; }));
}

TEST_F(HttpStreamTest, NoticesThatTheClientIsGoneWhileNothingIsWritten) {
  StartServer();
  auto client = std::make_unique<RawClient>(port_);
  client->Send(kRequest);
  (void)client->Read("\r\n\r\n");
  const auto body = handler_.body();
  const auto sink = body->sink();
  client.reset();
  ASSERT_TRUE(WaitFor([&] { return body->ends() == 1 && connections() == 0; }));
  // Too late, and harmless.
  sink->Write("more");
  sink->Abort();
}

TEST_F(HttpStreamTest, CutsAClientThatTalksInsteadOfListening) {
  StartServer();
  RawClient client(port_);
  client.Send(kRequest);
  const auto body = handler_.body();
  client.Send(std::string(200'000, 'x'));
  EXPECT_TRUE(WaitFor([&] { return body->ends() == 1; }));
}

TEST_F(HttpStreamTest, IsCutByTheProducer) {
  StartServer();
  RawClient client(port_);
  client.Send(kRequest);
  const auto body = handler_.body();
  body->sink()->Abort();
  EXPECT_THAT(client.Read(), EndsWith("\r\n\r\n"));
  EXPECT_TRUE(WaitFor([&] { return body->ends() == 1; }));
}

TEST_F(HttpStreamTest, EndsAtOnceWhenTheServerStops) {
  StartServer({.drain_time = absl::Seconds(30)});
  RawClient client(port_);
  client.Send(kRequest);
  const auto body = handler_.body();
  (void)body->sink();
  const absl::Time begin = absl::Now();
  server_->Stop();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
  EXPECT_EQ(body->ends(), 1);
  EXPECT_THAT(client.Read(), EndsWith("\r\n\r\n"));
}

TEST_F(HttpStreamTest, LetsInNoMoreStreamsThanThereMayBe) {
  StartServer({.max_streams = 1});
  RawClient first(port_);
  first.Send(kRequest);
  (void)handler_.body()->sink();
  RawClient second(port_);
  second.Send(kRequest);
  EXPECT_THAT(second.Read("}"),
              AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Retry-After: 5\r\n"), HasSubstr("X-Origins: all\r\n")));
  EXPECT_EQ(metrics_.Counter("carillon_http_requests_total", "", {{"route", "none"}, {"code", "503"}}).Value(), 1);
  EXPECT_EQ(handler_.body(1)->ends(), 1);
  // It is refused its stream, not its connection.
  second.Send("GET /plain HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(second.Read(), EndsWith("plain\n"));
  handler_.body()->sink()->Finish("");
  (void)first.Read();
  ASSERT_TRUE(WaitFor([&] { return streams() == 0; }));
  RawClient third(port_);
  third.Send(kRequest);
  (void)handler_.body(2)->sink();
}

TEST_F(HttpStreamTest, CountsRequestsThatAreUnderWayButNotStreams) {
  StartServer({.max_requests = 1});
  RawClient stream(port_);
  stream.Send(kRequest);
  (void)handler_.body()->sink();
  RawClient held(port_);
  held.Send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(WaitFor([&] { return handler_.IsHolding(); }));
  RawClient refused(port_);
  refused.Send("GET /plain HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(refused.Read(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Retry-After: 5\r\n")));
  handler_.Release();
  EXPECT_THAT(held.Read("}"), StartsWith("HTTP/1.1 500 "));
  RawClient served(port_);
  served.Send("GET /plain HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(served.Read(), EndsWith("plain\n"));
}

}  // namespace
}  // namespace carillon
