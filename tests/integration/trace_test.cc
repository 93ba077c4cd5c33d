// A caller's trace, from an RPC through the outbox and the broker to a provider's call
// and the logs of the real processes.
#include <fstream>

#include "carillon/domain/trace_context.h"
#include "tests/integration/delivery_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kTraceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kCaller = "00-" + kTraceId + "-00f067aa0ba902b7-01";

class TraceTest : public Deliveries {
 protected:
  static void SetUpTestSuite() {
    StartSystem({.processes = {"server", "relay", "worker-otp"},
                 .flags = {{"server", {"--log-level=debug"}}, {"worker-otp", {"--log-level=debug"}}},
                 .wrappers = {}});
  }

  std::string SendTraced(const Person& person, const std::string& traceparent) {
    const auto channel = grpc::CreateChannel(stack().address(), grpc::InsecureChannelCredentials());
    grpc::ClientContext context;
    context.AddMetadata("x-app-key", app_.key());
    context.AddMetadata("x-app-secret", app_.secret());
    context.AddMetadata("traceparent", traceparent);
    v1::SendNotificationRequest request = Request("otp.login", person.user);
    request.add_channels(v1::CHANNEL_SMS);
    (*request.mutable_data()->mutable_fields())["code"].set_string_value("123456");
    v1::SendNotificationResponse response;
    const grpc::Status status =
        v1::NotificationService::NewStub(channel)->SendNotification(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.notification().notification_id();
  }

  static std::vector<std::string> LogOf(const std::string& process) {
    std::ifstream file(stack().log_file(process));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  static bool LogSays(const std::string& process, const std::string& event, const std::string& field) {
    return WaitFor([&] {
      return ::testing::Matches(Contains(AllOf(HasSubstr("\"" + event + "\""), HasSubstr(field))))(LogOf(process));
    });
  }
};

TEST_F(TraceTest, ReachesTheProviderAndTheLogs) {
  app_.SetProviders(v1::CHANNEL_SMS, {sandbox().Provider("twilio")});
  const Person person = app_.AddPerson();
  const std::string id = SendTraced(person, kCaller);
  ASSERT_TRUE(WaitFor([&] { return Sms(sandbox(), "twilio", person).size() == 1; })) << app_.Story(id);
  const std::string traceparent = Sms(sandbox(), "twilio", person)[0]["headers"]["traceparent"];
  EXPECT_EQ(TraceIdOf(traceparent), kTraceId);
  EXPECT_NE(traceparent, kCaller);
  const std::string field = "\"trace_id\":\"" + kTraceId + "\"";
  EXPECT_TRUE(LogSays("server", "rpc.finished", field));
  EXPECT_TRUE(LogSays("worker-otp", "delivery.attempted", field));
}

TEST_F(TraceTest, IsNoneWhereTheCallerHasNone) {
  app_.SetProviders(v1::CHANNEL_SMS, {sandbox().Provider("twilio")});
  const Person person = app_.AddPerson();
  const std::string id = SendTraced(person, "00-" + std::string(32, 'X') + "-00f067aa0ba902b7-01");
  ASSERT_TRUE(WaitFor([&] { return Sms(sandbox(), "twilio", person).size() == 1; })) << app_.Story(id);
  EXPECT_FALSE(Sms(sandbox(), "twilio", person)[0]["headers"].contains("traceparent"));
  EXPECT_TRUE(LogSays("worker-otp", "delivery.attempted", id));
}

// A message that dies says so with its trace, hop by hop.
TEST_F(TraceTest, IsKeptByADeadLetter) {
  app_.SetProviders(v1::CHANNEL_SMS, {sandbox().Provider("twilio")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio", {{"mode", "error"}, {"code", 21211}, {"match", person.phone}});
  const std::string id = SendTraced(person, kCaller);
  EXPECT_TRUE(LogSays("worker-otp", "delivery.dead", kTraceId)) << app_.Story(id);
  EXPECT_TRUE(LogSays("relay", "dead_letter.recorded", kTraceId));
}

}  // namespace
}  // namespace carillon::testing
