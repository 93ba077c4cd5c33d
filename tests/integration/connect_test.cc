// Browsers and curl at the real server: the Connect protocol and Server-Sent Events, by
// other people's clients.
#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "carillon/v1/admin_service.pb.h"
#include "carillon/v1/catalog_service.pb.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/v1/notification_service.pb.h"
#include "carillon/v1/recipient_service.pb.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"
#include "tests/kit/loopback.h"

namespace carillon::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class Browsers : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    address_ = FreeAddress();
    stack_ = new RunningStack(
        {.processes = {"server", "relay", "worker-social"},
         .flags = {{"server", {absl::StrCat("--http-listen=", address_), "--cors-origins=https://app.example"}}}});
    ASSERT_TRUE(WaitFor([] { return IsListening(address_); }));
  }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static std::string Url(const std::string& path) { return absl::StrCat("http://", address_, path); }
  static std::vector<std::string> Credentials() {
    return {"-H", absl::StrCat("x-app-key: ", stack_->app_key()), "-H",
            absl::StrCat("x-app-secret: ", stack_->app_secret())};
  }
  // What curl prints: the body and, on a line of its own, the status.
  static std::string Curl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}\n"});
    const auto result = RunCommand(arguments);
    EXPECT_OK(result);
    return result.ok() ? result->output : "";
  }
  // One call as docs/http.md shows it.
  static std::pair<json, int> Call(const std::string& method, const json& request) {
    std::vector<std::string> arguments = Credentials();
    arguments.insert(arguments.end(),
                     {"-H", "content-type: application/json", Url("/carillon.v1." + method), "-d", request.dump()});
    const std::vector<std::string> lines = absl::StrSplit(Curl(arguments), '\n');
    EXPECT_GE(lines.size(), 2u);
    return {json::parse(lines[0], nullptr, false), std::atoi(lines[1].c_str())};
  }
  // A script of tests/clients, with the app's credentials.
  static json RunClient(const std::string& script, const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"node", absl::StrCat(SourceDirectory(), "/tests/clients/", script), address_};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const auto result =
        RunCommand(command, {{"CARILLON_APP_KEY", stack_->app_key()}, {"CARILLON_APP_SECRET", stack_->app_secret()}});
    EXPECT_OK(result);
    if (!result.ok()) return {};
    EXPECT_EQ(result->exit_status, 0) << result->errors;
    return json::parse(result->output, nullptr, false);
  }
  static std::string FileText(const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  static RunningStack* stack_;
  static std::string address_;
};

RunningStack* Browsers::stack_ = nullptr;
std::string Browsers::address_;

TEST_F(Browsers, SendAndReadWithCurl) {
  const auto [sent, status] = Call("NotificationService/SendNotification", {{"type", "like"},
                                                                            {"userId", "curl"},
                                                                            {"actorId", "bob"},
                                                                            {"objectId", "p1"},
                                                                            {"data", {{"actor_name", "Bob"}}}});
  ASSERT_EQ(status, 200) << sent;
  const std::string id = sent["notification"]["notificationId"];
  EXPECT_TRUE(WaitFor([&] {
    return Call("NotificationService/GetNotification", {{"notification_id", id}}).first["notification"]["state"] ==
           "STATE_DELIVERED";
  }));
  EXPECT_EQ(Call("FeedService/ListFeed", {{"userId", "curl"}}).first["items"][0]["title"], "Bob liked your post");
  const auto [error, code] = Call("NotificationService/SendNotification", {{"type", "like"}, {"user", "curl"}});
  EXPECT_EQ(code, 400);
  EXPECT_EQ(error["code"], "invalid_argument");
  EXPECT_EQ(error["details"][1]["debug"]["fieldViolations"][0]["field"], "user");
}

TEST_F(Browsers, ReachEveryMethod) {
  std::vector<std::string> unary = {"-H", "content-type: application/json", "-d", "{}"};
  std::vector<std::string> streams = {"-H", "content-type: application/connect+json", "-d", "{}"};
  size_t methods = 0;
  for (const auto* const any :
       {v1::SendNotificationRequest::descriptor(), v1::SubscribeRequest::descriptor(), v1::FollowRequest::descriptor(),
        v1::ListTypesRequest::descriptor(), v1::ListQueuesRequest::descriptor()}) {
    const auto& service = *any->file()->service(0);
    for (int i = 0; i < service.method_count(); ++i) {
      const auto& method = *service.method(i);
      const std::string url = Url(absl::StrCat("/", service.full_name(), "/", method.name()));
      (method.server_streaming() ? streams : unary).push_back(url);
      if (!method.server_streaming()) ++methods;
    }
  }
  EXPECT_GT(methods, 50u);
  size_t refused = 0;
  for (const absl::string_view line : absl::StrSplit(Curl(unary), '\n')) refused += line == "401";
  EXPECT_EQ(refused, methods);
  EXPECT_GE(streams.size(), 4u + 4u);
  // Not in an envelope: said in the stream's last message.
  EXPECT_THAT(Curl(streams), AllOf(HasSubstr("\"code\":\"invalid_argument\""), HasSubstr("\n200\n")));
}

TEST_F(Browsers, UseConnectWeb) {
  const ScratchDirectory scratch;
  const std::string protos = absl::StrCat(SourceDirectory(), "/protos");
  ASSERT_OK_AND_ASSIGN(
      const CommandResult compiled,
      RunCommand(
          {"/bin/sh", "-c",
           "cd \"$0\" && protoc --include_imports --descriptor_set_out=\"$1\" carillon/v1/*.proto google/rpc/*.proto",
           protos, scratch.Path("api")}));
  ASSERT_EQ(compiled.exit_status, 0) << compiled.errors;
  const json seen = RunClient("connect_client.mjs", {scratch.Path("api"), "wendy"});
  for (const char* format : {"json", "binary"}) {
    const json session = seen[format];
    EXPECT_EQ(session["seqs"], json({1, 2})) << seen;
    EXPECT_EQ(session["state"], static_cast<int>(v1::STATE_DELIVERED));
    EXPECT_EQ(session["watched"].back(), static_cast<int>(v1::STATE_DELIVERED));
    EXPECT_EQ(session["data"]["depth"]["list"], json({1, nullptr, true}));
    EXPECT_EQ(session["missing"]["code"], "NotFound");
    EXPECT_EQ(session["missing"]["reason"], "NOT_FOUND");
    EXPECT_EQ(session["refused"]["fields"], json({"user_id"}));
    EXPECT_EQ(session["stream"]["code"], "InvalidArgument");
    EXPECT_EQ(session["stream"]["fields"], json({"user_id"}));
  }
}

TEST_F(Browsers, MissNothingWhenTheConnectionIsCutForSeconds) {
  const json seen = RunClient("event_source.mjs", {"esther"});
  EXPECT_THAT(seen["seqs"].get<std::vector<int64_t>>(), ElementsAreArray(CountUpTo(30)));
  EXPECT_EQ(seen["opens"], 2);
  EXPECT_EQ(seen["seen_while_cut"], 0);
  EXPECT_GE(seen["cut_ms"], 3000);
  EXPECT_EQ(seen["unresumable"]["resumeRequired"]["cause"], "CAUSE_UNKNOWN_SEQ");
  EXPECT_EQ(seen["refused"], json({{"code", 401}, {"is_closed", true}}));
}

TEST_F(Browsers, MayUseItFromOriginsThatAreNamed) {
  const std::string path = Url("/carillon.v1.FeedService/ListFeed");
  EXPECT_THAT(Curl({"-i", "-X", "OPTIONS", path, "-H", "Origin: https://app.example", "-H",
                    "Access-Control-Request-Method: POST"}),
              AllOf(HasSubstr("HTTP/1.1 204"), HasSubstr("Access-Control-Allow-Origin: https://app.example\r\n")));
  EXPECT_THAT(Curl({"-i", "-X", "OPTIONS", path, "-H", "Origin: https://other.example", "-H",
                    "Access-Control-Request-Method: POST"}),
              HasSubstr("HTTP/1.1 405"));
}

TEST_F(Browsers, GetTheAnswerOfWhatIsUnderWayWhenTheServerStops) {
  const ScratchDirectory scratch;
  const std::string key = stack_->CreateApp("rotated")["app"]["app_key"];
  stack_->database().Query(
      "CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS"
      " $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$;"
      "CREATE TRIGGER take_a_while BEFORE INSERT ON app_secrets FOR EACH ROW EXECUTE FUNCTION take_a_while()");
  std::vector<std::string> command = {"curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}\n"};
  for (const std::string& part : Credentials()) command.push_back(part);
  command.insert(command.end(), {"-H", "content-type: application/json", "-d", json({{"appKey", key}}).dump(),
                                 Url("/carillon.v1.AdminService/RotateAppSecret")});
  ASSERT_OK_AND_ASSIGN(const auto caller,
                       Process::Start({.command = command, .environment = {}, .output_file = scratch.Path("answer")}));
  ASSERT_TRUE(WaitFor([] {
    return stack_->database().Query(
               "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") ==
           "1";
  }));
  EXPECT_EQ(stack_->StopProcess("server"), 0);
  EXPECT_EQ(caller->WaitForExit(absl::Seconds(10)), 0);
  EXPECT_THAT(FileText(scratch.Path("answer")), AllOf(HasSubstr("appSecret"), HasSubstr("\n200\n")));
  stack_->database().Query("DROP TRIGGER take_a_while ON app_secrets");
  stack_->StartProcess("server");
  ASSERT_TRUE(WaitFor([] { return IsListening(address_); }));
}

// Last: the server is another one afterwards.
TEST_F(Browsers, AreToldWhenTheServerStops) {
  const ScratchDirectory scratch;
  std::vector<std::string> command = {"curl", "-sSN", "--max-time", "30", Url("/v1/feed/events?user_id=curl")};
  for (const std::string& part : Credentials()) command.push_back(part);
  ASSERT_OK_AND_ASSIGN(const auto listener,
                       Process::Start({.command = command, .environment = {}, .output_file = scratch.Path("events")}));
  ASSERT_TRUE(WaitFor([&] { return absl::StrContains(FileText(scratch.Path("events")), "retry: "); }));
  const absl::Time begin = absl::Now();
  EXPECT_EQ(stack_->StopProcess("server"), 0);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(8));
  EXPECT_EQ(listener->WaitForExit(absl::Seconds(10)), 0);
  EXPECT_THAT(FileText(scratch.Path("events")), AllOf(HasSubstr("event: end\n"), HasSubstr("DRAINING")));
  stack_->StartProcess("server");
}

}  // namespace
}  // namespace carillon::testing
