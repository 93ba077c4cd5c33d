// The RPCs by the Connect protocol.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "carillon/v1/notification_service.pb.h"
#include "server/connect/connect_protocol.h"
#include "tests/unit/server/connect_fixture.h"

namespace carillon {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using testing::ConnectTest;
using ::testing::HasSubstr;
using testing::HttpAnswer;
using ::testing::IsEmpty;
using testing::Key;
using ::testing::Not;
using testing::ParseAnswer;
using testing::RawClient;
using ::testing::StartsWith;
using testing::WaitFor;

constexpr char kJson[] = "application/json";
constexpr char kJsonStream[] = "application/connect+json";

// The messages of a stream, each after its flags.
std::vector<std::pair<int, std::string>> Messages(absl::string_view body) {
  std::vector<std::pair<int, std::string>> messages;
  while (body.size() >= 5) {
    size_t length = 0;
    for (int i = 1; i < 5; ++i) length = length << 8 | static_cast<unsigned char>(body[i]);
    messages.emplace_back(body[0], body.substr(5, length));
    body.remove_prefix(std::min(body.size(), 5 + length));
  }
  EXPECT_THAT(body, IsEmpty());
  return messages;
}

std::string FieldOfViolation(const HttpAnswer& answer) {
  const json error = answer.json();
  for (const json& detail : error["details"]) {
    if (detail["type"] == "google.rpc.BadRequest") return detail["debug"]["fieldViolations"][0]["field"];
  }
  return "";
}

TEST_F(ConnectTest, AnswersJsonWithNamesThatBrowsersExpect) {
  StartAll();
  store_.Append(Key("ada"));
  for (const char* request : {R"({"userId":"ada"})", R"({"user_id":"ada"})"}) {
    const HttpAnswer answer = Post("FeedService/ListFeed", kJson, request);
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(answer.head, HasSubstr("Content-Type: application/json\r\n"));
    const json item = answer.json()["items"][0];
    EXPECT_EQ(item["seq"], "1");  // int64 is a string.
    EXPECT_TRUE(item.contains("notificationId")) << item;
    EXPECT_FALSE(item.contains("read")) << item;
  }
}

TEST_F(ConnectTest, AnswersProtobufWithProtobuf) {
  StartAll();
  store_.Append(Key("ada"));
  v1::ListFeedRequest request;
  request.set_user_id("ada");
  const HttpAnswer answer = Post("FeedService/ListFeed", "application/proto", request.SerializeAsString());
  EXPECT_THAT(answer.head, HasSubstr("Content-Type: application/proto\r\n"));
  v1::ListFeedResponse response;
  ASSERT_TRUE(response.ParseFromString(answer.body));
  EXPECT_EQ(response.items(0).seq(), 1);
}

TEST_F(ConnectTest, TellsErrorsWithTheirDetails) {
  StartAll();
  const HttpAnswer answer = Post("FeedService/ListFeed", kJson, R"({"pageSize":-1})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.head, HasSubstr("Content-Type: application/json\r\n"));
  const json error = answer.json();
  EXPECT_EQ(error["code"], "invalid_argument");
  EXPECT_THAT(std::string(error["message"]), HasSubstr("user_id"));
  EXPECT_EQ(error["details"][0]["type"], "google.rpc.ErrorInfo");
  EXPECT_EQ(error["details"][0]["debug"]["reason"], "INVALID_FIELD");
  EXPECT_THAT(std::string(error["details"][0]["value"]), Not(HasSubstr("=")));
  EXPECT_EQ(FieldOfViolation(answer), "user_id");
}

TEST_F(ConnectTest, NamesTheFieldOfJsonThatIsNoRequest) {
  StartAll();
  for (const auto& [body, field] : std::vector<std::pair<std::string, std::string>>{
           {R"({"userId":"ada","colour":"red"})", "colour"},
           {R"({"userId":5})", "user_id"},
           {R"({"pageSize":"many"})", "page_size"},
           {R"({"userId":"ada")", "body"},
           {R"([])", "body"},
           {"", "body"},
           {"{\"userId\":\"\xff\"}", "body"},
           {absl::StrCat("{\"", std::string(500, 'x'), "\\u0001\":1}"), std::string(200, 'x')}}) {
    const HttpAnswer answer = Post("FeedService/ListFeed", kJson, body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(FieldOfViolation(answer), field) << answer.body;
  }
  EXPECT_EQ(FieldOfViolation(Post("FeedService/ListFeed", "application/proto", "\xff\xff")), "body");
}

TEST(MessageJson, TakesNoDeepNesting) {
  const MessageJson converter;
  const auto convert = [&](const std::string& data) {
    const std::string request = absl::StrCat(R"({"requests":[{"data":{"a":)", data, "}}]}");
    return converter.ToBinary(*v1::BatchSendNotificationsRequest::descriptor(), request).status();
  };
  // As deep as data may be, and brackets that are text.
  EXPECT_OK(convert(std::string(15, '[') + std::string(15, ']')));
  EXPECT_OK(convert(R"("[[[[[[[[[[[[[[[[[[\"[[[[[[[[[[[[[[[[[[{{{{{{{{{{{")"));
  EXPECT_OK(convert(R"('[[[[[[[[[[[[[[[[[["\'[[[[[[[[[[[[[[[[[{{{{{{{{{{{')"));
  std::string objects;
  for (int i = 0; i < 40; ++i) objects += R"({"a":)";
  for (const std::string& data :
       {std::string(32'000, '[') + std::string(32'000, ']'), std::string(1'000'000, '['),
        objects + "1" + std::string(40, '}'), R"(["\\",)" + std::string(40, '[') + std::string(41, ']')}) {
    EXPECT_THAT(convert(data), testing::StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 32 levels")));
  }
}

TEST_F(ConnectTest, RefusesWhatTheProtocolDoesNotAllow) {
  StartAll();
  const std::string request = R"({"userId":"ada"})";
  for (const char* type : {"text/plain", "application/grpc", "application/json; charset=latin1", kJsonStream}) {
    const HttpAnswer answer = Post("FeedService/ListFeed", type, request);
    EXPECT_EQ(answer.status, 415) << type;
    EXPECT_THAT(answer.head, HasSubstr("Accept-Post: application/json, application/proto\r\n"));
  }
  EXPECT_EQ(Post("FeedService/Subscribe", kJson, request).status, 415);
  EXPECT_EQ(Post("FeedService/ListFeed", "Application/JSON; Charset=UTF-8", request).status, 200);
  const HttpAnswer zipped = Post("FeedService/ListFeed", kJson, request, {"Content-Encoding: gzip"});
  EXPECT_EQ(zipped.status, 501);
  EXPECT_EQ(zipped.json()["code"], "unimplemented");
  EXPECT_EQ(Post("FeedService/ListFeed", kJson, request, {"Content-Encoding: identity"}).status, 200);
  EXPECT_EQ(Post("FeedService/ListFeed", kJson, request, {"Connect-Protocol-Version: 2"}).status, 400);
  EXPECT_EQ(Post("FeedService/ListFeed", kJson, request, {"Connect-Timeout-Ms: soon"}).status, 400);
  EXPECT_EQ(Post("FeedService/ListFeed", kJson, request, {"Connect-Timeout-Ms: 12345678901"}).status, 400);
  const HttpAnswer unknown = Post("FeedService/Nothing", kJson, request);
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.json()["code"], "unimplemented");
  EXPECT_THAT(Ask("GET /carillon.v1.FeedService/ListFeed", Credentials()).head,
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: POST\r\n")));
}

TEST_F(ConnectTest, EndsWithTheCallersDeadline) {
  StartAll();
  const std::string request = R"({"userId":"ada"})";
  const HttpAnswer late = Post("FeedService/ListFeed", kJson, request, {"Connect-Timeout-Ms: 0"});
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(late.json()["code"], "deadline_exceeded");
  EXPECT_EQ(Post("FeedService/ListFeed", kJson, request, {"Connect-Timeout-Ms: 9000"}).status, 200);
}

TEST_F(ConnectTest, ChecksCredentialsAsTheRpcDoes) {
  StartAll();
  const auto status_of = [&](std::vector<std::string> headers) {
    headers.emplace_back("Content-Type: application/json");
    return Ask("POST /carillon.v1.FeedService/ListFeed", headers, R"({"userId":"ada"})").status;
  };
  EXPECT_EQ(status_of({}), 401);
  EXPECT_EQ(status_of(Credentials("nobody")), 401);
  EXPECT_EQ(status_of(Credentials("sender")), 403);
  EXPECT_EQ(status_of({"Authorization: Bearer " + TokenOf("ada")}), 200);
  EXPECT_EQ(status_of({"Authorization: Bearer " + TokenOf("bob")}), 403);
  // Values that gRPC can't carry.
  EXPECT_EQ(status_of({"x-app-key: k\xc3\xa9y", "x-app-secret: secret"}), 401);
  EXPECT_EQ(status_of({"x-app-key: key", "x-app-secret: sec\tret", "traceparent: \x80"}), 401);
}

TEST_F(ConnectTest, TakesLargeBodies) {
  StartAll();
  const HttpAnswer answer =
      Post("FeedService/ListFeed", kJson, json({{"userId", "ada"}, {"pageToken", std::string(200'000, 'x')}}).dump());
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(FieldOfViolation(answer), "page_token");
}

TEST_F(ConnectTest, StreamsMessagesInEnvelopes) {
  StartAll();
  store_.Append(Key("ada"));
  RawClient client(port_);
  std::vector<std::string> headers = Credentials();
  headers.emplace_back("Content-Type: application/connect+json");
  client.Send(Request("POST /carillon.v1.FeedService/Subscribe", headers, Envelope(R"({"userId":"ada"})")));
  std::string text = client.Read("item 1");
  AppendAndAnnounce("ada");
  text += client.Read("item 2");
  ASSERT_TRUE(WaitFor([&] { return hub_->stream_count() == 1; }));
  hub_->Stop();
  text += client.Read();
  const HttpAnswer answer = ParseAnswer(text);
  EXPECT_THAT(answer.head, AllOf(StartsWith("HTTP/1.1 200 OK"), HasSubstr("Content-Type: application/connect+json")));
  const auto messages = Messages(answer.body);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0].first, 0);
  EXPECT_EQ(json::parse(messages[0].second)["seq"], "1");
  EXPECT_EQ(json::parse(messages[1].second)["item"]["title"], "item 2");
  EXPECT_EQ(messages[2].first, 2);
  EXPECT_EQ(json::parse(messages[2].second)["error"]["code"], "unavailable");
}

TEST_F(ConnectTest, LosesNothingThatIsSentJustBeforeTheEnd) {
  StartAll();
  RawClient client(port_);
  client.Send(Request("POST /carillon.v1.AdminService/ReplayDeadLetters", {"Content-Type: application/connect+proto"},
                      Envelope("")));
  const auto messages = Messages(ParseAnswer(client.Read()).body);
  ASSERT_EQ(messages.size(), testing::BurstingAdmin::kMessages + 1u) << messages.back().second;
  for (int i = 0; i < testing::BurstingAdmin::kMessages; ++i) {
    v1::ReplayDeadLettersResponse message;
    ASSERT_TRUE(message.ParseFromString(messages[i].second));
    EXPECT_THAT(message.replay().replay_id(), StartsWith(absl::StrCat(i + 1, "x")));
  }
  const json end = json::parse(messages.back().second);
  EXPECT_EQ(end["error"]["code"], "aborted");
  EXPECT_EQ(end["error"]["message"], "all sent");
  EXPECT_EQ(end["metadata"], (json{{"x-note", {"after all"}}, {"x-raw-bin", {"AAE"}}}));
}

TEST_F(ConnectTest, TellsFaultsOfStreamsInTheirLastMessage) {
  StartAll();
  const auto code_of = [&](const std::string& body, const std::vector<std::string>& headers = {}) {
    const HttpAnswer answer = Post("FeedService/Subscribe", kJsonStream, body, headers);
    EXPECT_EQ(answer.status, 200);
    const auto messages = Messages(answer.body);
    EXPECT_EQ(messages.size(), 1u);
    EXPECT_EQ(messages[0].first, 2);
    return std::string(json::parse(messages[0].second)["error"]["code"]);
  };
  EXPECT_EQ(code_of(Envelope("{}")), "invalid_argument");
  EXPECT_EQ(code_of(Envelope(R"({"nothing":1})")), "invalid_argument");
  EXPECT_EQ(code_of("{}"), "invalid_argument");
  EXPECT_EQ(code_of(""), "invalid_argument");
  EXPECT_EQ(code_of(Envelope("{}") + Envelope("{}")), "invalid_argument");
  EXPECT_EQ(code_of(EndEnvelope("{}")), "invalid_argument");
  EXPECT_EQ(code_of(std::string("\1\0\0\0\0", 5)), "unimplemented");
  EXPECT_EQ(code_of(Envelope("{}"), {"Connect-Content-Encoding: gzip"}), "unimplemented");
}

TEST_F(ConnectTest, EndsTheCallOfAClientThatIsGone) {
  StartAll();
  auto client = std::make_unique<RawClient>(port_);
  std::vector<std::string> headers = Credentials();
  headers.emplace_back("Content-Type: application/connect+json");
  client->Send(Request("POST /carillon.v1.FeedService/Subscribe", headers, Envelope(R"({"userId":"ada"})")));
  ASSERT_TRUE(WaitFor([&] { return hub_->stream_count() == 1; }));
  client.reset();
  EXPECT_TRUE(WaitFor([&] { return hub_->stream_count() == 0; }));
}

TEST_F(ConnectTest, EndsTheUnaryCallOfAClientThatIsGone) {
  StartAll();
  auto client = std::make_unique<RawClient>(port_);
  client->Send(Request("POST /carillon.v1.AdminService/ListQueues", {"Content-Type: application/json"}, "{}"));
  ASSERT_TRUE(WaitFor([&] { return admin_.IsHolding(); }));
  EXPECT_EQ(admin_.cancelled(), 0);
  client.reset();
  EXPECT_TRUE(WaitFor([&] { return admin_.cancelled() == 1; }));
}

TEST_F(ConnectTest, LetsUnaryCallsBeAnsweredBeforeTheServerEndsThem) {
  StartAll();
  RawClient stream(port_);
  std::vector<std::string> headers = Credentials();
  headers.emplace_back("Content-Type: application/connect+json");
  stream.Send(Request("POST /carillon.v1.FeedService/Subscribe", headers, Envelope(R"({"userId":"ada"})")));
  RawClient client(port_);
  client.Send(Request("POST /carillon.v1.AdminService/ListQueues", {"Content-Type: application/json"}, "{}"));
  ASSERT_TRUE(WaitFor([&] { return admin_.IsHolding() && hub_->stream_count() == 1; }));
  std::thread stopping([&] {
    connect_->Drain(absl::Seconds(20));
    in_process_->Shutdown(absl::ToChronoTime(absl::Now()));
  });
  EXPECT_TRUE(WaitFor([&] { return Post("FeedService/ListFeed", kJson, R"({"userId":"ada"})").status == 503; }));
  admin_.Release();
  EXPECT_THAT(client.Read("}"), StartsWith("HTTP/1.1 200 "));
  stopping.join();
}

TEST_F(ConnectTest, RefusesCallsOnceItStops) {
  StartAll();
  connect_->Stop();
  const HttpAnswer unary = Post("FeedService/ListFeed", kJson, R"({"userId":"ada"})");
  EXPECT_EQ(unary.status, 503);
  EXPECT_EQ(unary.json()["details"][0]["debug"]["reason"], "DRAINING");
  EXPECT_THAT(Post("FeedService/Subscribe", kJsonStream, Envelope("{}")).body, HasSubstr("unavailable"));
}

TEST_F(ConnectTest, LetsPagesOfKnownOriginsIn) {
  StartAll({}, "https://app.example, http://localhost:5173");
  const std::vector<std::string> ask = {"Origin: https://app.example", "Access-Control-Request-Method: POST"};
  EXPECT_THAT(Ask("OPTIONS /carillon.v1.FeedService/ListFeed", ask).head,
              AllOf(StartsWith("HTTP/1.1 204 "), HasSubstr("Access-Control-Allow-Origin: https://app.example\r\n"),
                    HasSubstr("Vary: Origin\r\n"), HasSubstr("Connect-Protocol-Version"), HasSubstr("Authorization"),
                    HasSubstr("X-App-Secret"), Not(HasSubstr("Allow-Credentials"))));
  EXPECT_THAT(Post("FeedService/ListFeed", kJson, R"({"userId":"ada"})", {"Origin: http://localhost:5173"}).head,
              AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("Access-Control-Allow-Origin: http://localhost:5173\r\n"),
                    HasSubstr("Access-Control-Expose-Headers: Retry-After")));
  EXPECT_THAT(Ask("OPTIONS /carillon.v1.FeedService/ListFeed",
                  {"Origin: https://evil.example", "Access-Control-Request-Method: POST"})
                  .head,
              Not(HasSubstr("Access-Control")));
  EXPECT_THAT(Ask("GET /elsewhere", ask).head, Not(HasSubstr("Access-Control")));
}

TEST_F(ConnectTest, KeepsAppCredentialsFromPagesOfAllOrigins) {
  StartAll({}, "*");
  EXPECT_THAT(
      Ask("OPTIONS /v1/feed/events", {"Origin: https://any.example", "Access-Control-Request-Method: GET"}).head,
      AllOf(HasSubstr("Access-Control-Allow-Origin: *\r\n"), HasSubstr("Authorization"),
            Not(HasSubstr("X-App-Secret"))));
}

TEST(PublicServices, LeaveOperationsOut) {
  for (const auto* const service : PublicServices(/*with_operations=*/false)) {
    EXPECT_NE(service->full_name(), "carillon.v1.AdminService");
  }
  EXPECT_EQ(PublicServices(/*with_operations=*/false).size() + 1, PublicServices(/*with_operations=*/true).size());
}

TEST(CorsPolicy, TakesOriginsOnly) {
  EXPECT_EQ(CorsPolicy::Parse("")->origins.size(), 0u);
  EXPECT_EQ(CorsPolicy::Parse("https://a.example,http://[::1]:80")->origins.size(), 2u);
  for (const char* flag : {"a.example", "https://a.example/", "https://A.example", "*,https://a.example", "null",
                           "https://", "https://u@a.example"}) {
    EXPECT_FALSE(CorsPolicy::Parse(flag).ok()) << flag;
  }
}

}  // namespace
}  // namespace carillon
