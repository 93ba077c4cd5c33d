// Tokens of end users through real servers: what they reach, and when they end.
#include <grpcpp/generic/generic_stub.h>

#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/notification.h"
#include "carillon/runtime/secrets.h"
#include "client/carillon/status.h"
#include "server/api/user_tokens.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"

namespace carillon::testing {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::MethodDescriptor;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kOldKey(64, '5');  // As every process of a test's system has it.
const std::string kNewKey(64, '6');

// All that a user may call. Whatever is added to the API is refused until it is added here.
const std::set<std::string> kOfUsers = {"FeedService/Subscribe",
                                        "FeedService/ListFeed",
                                        "FeedService/GetFeedSummary",
                                        "FeedService/MarkRead",
                                        "FeedService/RecordInteraction",
                                        "FeedService/ListTopicFeed",
                                        "FeedService/SubscribeTopic",
                                        "FeedService/GetCounters",
                                        "RecipientService/GetRecipient",
                                        "RecipientService/RegisterDevice",
                                        "RecipientService/RemoveDevice",
                                        "RecipientService/UpdateSettings",
                                        "RecipientService/GetSettings",
                                        "RecipientService/AddMutes",
                                        "RecipientService/RemoveMutes",
                                        "RecipientService/ListMutes",
                                        "RecipientService/GetPreferenceCentre"};

std::vector<const MethodDescriptor*> AllMethods() {
  std::vector<const MethodDescriptor*> methods;
  for (const char* file : {"notification", "feed", "recipient", "catalog", "admin"}) {
    const auto* const found =
        DescriptorPool::generated_pool()->FindFileByName(absl::StrCat("carillon/v1/", file, "_service.proto"));
    for (int i = 0; i < found->service(0)->method_count(); ++i) methods.push_back(found->service(0)->method(i));
  }
  return methods;
}

std::string NameOf(const MethodDescriptor& method) {
  return absl::StrCat(method.service()->name(), "/", method.name());
}

// Somebody's request; of methods that say whose.
grpc::ByteBuffer RequestOf(const MethodDescriptor& method, const std::string& user) {
  std::unique_ptr<google::protobuf::Message> request(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(method.input_type())->New());
  const auto* const field = method.input_type()->FindFieldByName("user_id");
  if (field != nullptr) request->GetReflection()->SetString(request.get(), field, user);
  const grpc::Slice slice(request->SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

class UserTokenTest : public CommandLineTest {
 protected:
  static void SetUpTestSuite() {
    stack_ = new RunningStack(
        {.processes = {"server", "server-2", "server-3", "relay", "worker-social"},
         .flags = {},
         .wrappers = {{"server-2", {"env", absl::StrCat("CARILLON_MASTER_KEY=", kNewKey, ",", kOldKey)}},
                      {"server-3", {"env", absl::StrCat("CARILLON_MASTER_KEY=", kNewKey)}}}});
  }

  // Of a server; its app's.
  static std::string TokenOf(const std::string& user, const std::string& server = "server") {
    Client client = ClientOf(*stack_, server);
    v1::IssueUserTokenRequest request;
    request.set_user_id(user);
    const auto response = client.IssueUserToken(request);
    EXPECT_OK(response);
    return response.ok() ? response->token() : "";
  }
  // As a server makes them, but for a life as short as none asks for.
  static std::string ShortToken(const std::string& user, absl::Duration life) {
    const UserTokens tokens(*MasterKey::FromHex(kOldKey), TokenAlgorithm::kHs256);
    return *tokens.Issue({.app_key = stack_->app_key(),
                          .secret_id = absl::BytesToHexString(HashSecret(stack_->app_secret()).substr(0, 6)),
                          .user = user,
                          .issue_time = absl::Now(),
                          .expire_time = absl::Now() + life});
  }
  static Client UserClient(const std::string& token, const std::string& server = "server") {
    return Client({.address = stack_->address(server), .user_token = [token] { return token; }});
  }
  static CommandResult RunAs(const std::string& token, Arguments arguments) {
    arguments.insert(arguments.begin(), absl::StrCat(BinaryDirectory(), "/carillonctl"));
    std::map<std::string, std::string> environment = stack_->Environment();
    environment["CARILLON_USER_TOKEN"] = token;
    const auto result = RunCommand(arguments, environment);
    EXPECT_OK(result);
    return result.ok() ? *result : CommandResult{-1, "", ""};
  }
  // The reason of the refusal; empty if it is none.
  std::string Call(const MethodDescriptor& method, const std::string& token, const std::string& user) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + token);
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
    const grpc::ByteBuffer request = RequestOf(method, user);
    grpc::ByteBuffer response;
    absl::Status status;
    absl::Notification done;
    grpc::GenericStub(channel_).UnaryCall(&context, absl::StrCat("/carillon.v1.", NameOf(method)), {}, &request,
                                          &response, [&](const grpc::Status& answer) {
                                            status = FromGrpcStatus(answer);
                                            done.Notify();
                                          });
    done.WaitForNotification();
    return ReasonOf(status);
  }

  const std::shared_ptr<grpc::Channel> channel_ =
      grpc::CreateChannel(stack_->address(), grpc::InsecureChannelCredentials());
};

TEST_F(UserTokenTest, IsRefusedByEveryMethodThatIsNotForUsers) {
  const std::string token = TokenOf("ada");
  std::set<std::string> rest = kOfUsers;
  for (const MethodDescriptor* method : AllMethods()) {
    const std::string name = NameOf(*method);
    const bool is_of_users = rest.erase(name) > 0;
    const bool says_whose = method->input_type()->FindFieldByName("user_id") != nullptr;
    // Another user's: refused all the same. Public ones say nothing of a user.
    if (!is_of_users || says_whose) {
      EXPECT_EQ(Call(*method, token, "eve"), "NOT_YOURS") << name;
    }
    if (!is_of_users) {
      EXPECT_EQ(Call(*method, token, "ada"), "NOT_YOURS") << name;
    } else if (!method->server_streaming()) {
      EXPECT_NE(Call(*method, token, "ada"), "NOT_YOURS") << name;
    }
    EXPECT_EQ(Call(*method, token + "x", "ada"), "INVALID_TOKEN") << name;
  }
  EXPECT_TRUE(rest.empty()) << *rest.begin();
}

TEST_F(UserTokenTest, ReachesWhatIsTheUsersOwnByCarillonctl) {
  const std::string token(absl::StripSuffix(Output({"recipients", "token", "bea", "--ttl", "1m"}), "\n"));
  Output({"send", "--type", "like", "--user", "bea", "--actor", "bob", "--data", R"({"actor_name": "Bob"})"});
  ASSERT_TRUE(WaitFor([&] { return absl::StrContains(RunAs(token, {"feed", "--user", "bea"}).output, "Bob"); }));
  EXPECT_EQ(RunAs(token, {"settings", "mute", "bea", "--actor", "bob"}).exit_status, 0);
  EXPECT_THAT(Output({"settings", "mutes", "bea"}), HasSubstr("bob"));
  EXPECT_THAT(RunAs(token, {"feed", "--user", "eve"}).errors, HasSubstr("NOT_YOURS"));
  EXPECT_THAT(RunAs(token, {"send", "--type", "like", "--user", "bea"}).errors,
              AllOf(StartsWith("carillonctl: PERMISSION_DENIED"), HasSubstr("NOT_YOURS")));
  EXPECT_THAT(RunAs(token, {"recipients", "token", "bea"}).errors, HasSubstr("NOT_YOURS"));
  EXPECT_THAT(RunAs("bad", {"feed", "--user", "bea"}).errors, HasSubstr("INVALID_TOKEN"));
  EXPECT_THAT(Failure({"recipients", "token", "bea", "--ttl", "59s"}), HasSubstr("ttl: must be 1 min to 24 h"));
  EXPECT_THAT(Failure({"recipients", "token", "bea", "--ttl", "25h"}), HasSubstr("ttl"));
}

TEST_F(UserTokenTest, OutlivesANewMasterKeyWhileTheOldOneIsThere) {
  v1::GetFeedSummaryRequest ask;
  const std::string old_token = TokenOf("cleo", "server");
  const std::string new_token = TokenOf("cleo", "server-2");
  EXPECT_OK(UserClient(old_token, "server-2").GetFeedSummary(ask));
  EXPECT_OK(UserClient(new_token, "server-2").GetFeedSummary(ask));
  EXPECT_OK(UserClient(new_token, "server-3").GetFeedSummary(ask));
  EXPECT_EQ(ReasonOf(UserClient(old_token, "server-3").GetFeedSummary(ask).status()), "INVALID_TOKEN");
  EXPECT_EQ(ReasonOf(UserClient(new_token, "server").GetFeedSummary(ask).status()), "INVALID_TOKEN");
}

TEST_F(UserTokenTest, EndsStreamsWhichGoOnWithAnotherToken) {
  // Lives on for the leeway of 5 s.
  const std::string brief = ShortToken("dee", absl::Seconds(1));
  const std::string lasting = TokenOf("dee");
  std::atomic<int> calls = 0;
  std::atomic<bool> ended = false;
  std::string reason;
  Client lone = UserClient(brief);
  const auto dies = lone.Subscribe({.user_id = "dee", .after_seq = 0},
                                   {.on_event = [](const v1::SubscribeResponse&) {},
                                    .on_disconnect =
                                        [&](const absl::Status& status, std::optional<absl::Duration> delay) {
                                          reason = absl::StrCat(ReasonOf(status), delay.has_value());
                                          ended = true;
                                        },
                                    .on_resume = nullptr});
  Client renewing({.address = stack_->address(), .user_token = [&] { return calls++ == 0 ? brief : lasting; }});
  RecordedStream stream(renewing, "dee");
  Output({"send", "--type", "like", "--user", "dee", "--actor", "bob", "--object", "1"});
  ASSERT_TRUE(stream.WaitForEvents(1));
  ASSERT_TRUE(WaitFor([&] { return ended && calls > 1; }, absl::Seconds(20)));
  EXPECT_EQ(reason, "TOKEN_EXPIRED0");
  Output({"send", "--type", "like", "--user", "dee", "--actor", "bob", "--object", "2"});
  ASSERT_TRUE(stream.WaitForEvents(2));
  EXPECT_EQ(stream.seqs(), CountUpTo(2));
}

TEST_F(UserTokenTest, EndsWithTheSecretThatItWasIssuedBy) {
  const nlohmann::json app = stack_->CreateApp("rotating");
  const std::string key = app["app"]["app_key"];
  Client client({.address = stack_->address(), .app_key = key, .app_secret = app["app_secret"]});
  v1::IssueUserTokenRequest request;
  request.set_user_id("fay");
  ASSERT_OK_AND_ASSIGN(const v1::IssueUserTokenResponse issued, client.IssueUserToken(request));
  Client user = UserClient(issued.token());
  std::atomic<bool> ended = false;
  const auto stream = user.Subscribe(
      {.user_id = "fay", .after_seq = 0},
      {.on_event = [](const v1::SubscribeResponse&) {},
       .on_disconnect = [&](const absl::Status& status, auto) { ended = ReasonOf(status) == "INVALID_TOKEN"; },
       .on_resume = nullptr});
  EXPECT_OK(user.GetFeedSummary({}));
  for (int i = 0; i < 2; ++i) Output({"app", "rotate", key});
  const absl::Time rotated = absl::Now();
  EXPECT_TRUE(WaitFor([&] { return ended.load(); }, absl::Seconds(20)));
  EXPECT_LT(absl::Now() - rotated, absl::Seconds(12));
  EXPECT_EQ(ReasonOf(user.GetFeedSummary({}).status()), "INVALID_TOKEN");
}

}  // namespace
}  // namespace carillon::testing
