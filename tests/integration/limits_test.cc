// What apps and senders may send, the guard against runaways, and the time of sandboxes,
// through the real processes.
#include <map>

#include "absl/strings/str_cat.h"
#include "client/carillon/status.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/private_redis.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;

// Two servers, and a Redis that nobody else uses.
class Limits : public ::testing::Test {
 protected:
  // Each test has an app of its own.
  void SetUp() override {
    const auto app = stack_->CreateApp(::testing::UnitTest::GetInstance()->current_test_info()->name());
    app_key_ = app["app"]["app_key"].get<std::string>();
    for (const char* server : {"server", "server-2"}) {
      ClientOptions options{
          .address = stack_->address(server), .app_key = app_key_, .app_secret = app["app_secret"].get<std::string>()};
      // Refusals are what these tests are about.
      options.retry.max_attempts = 1;
      clients_.emplace(server, std::make_unique<Client>(std::move(options)));
    }
  }

  // Runs carillonctl as the stack's own app.
  std::string Ctl(const std::vector<std::string>& arguments) {
    const auto result = stack_->Carillonctl(arguments);
    EXPECT_OK(result);
    if (!result.ok()) return "";
    EXPECT_EQ(result->exit_status, 0) << result->output;
    return result->output;
  }
  absl::Status Send(const std::string& server, const std::string& actor, int count, const std::string& type = "like") {
    v1::BatchSendNotificationsRequest batch;
    for (int i = 0; i < count; ++i) {
      *batch.add_requests() = Request(type, "ann");
      batch.mutable_requests(i)->set_actor_id(actor);
    }
    return clients_.at(server)->BatchSendNotifications(batch).status();
  }
  absl::Status Send(const std::string& actor, int count, const std::string& type = "like") {
    return Send("server", actor, count, type);
  }

  // One to each of so many things of Ann's, who is told.
  absl::Status React(const std::string& actor, int count, const std::string& told = "ann") {
    v1::RecordReactionsRequest request;
    for (int i = 0; i < count; ++i) {
      v1::Reaction& reaction = *request.add_reactions();
      reaction.set_actor_id(actor);
      reaction.set_object_id(absl::StrCat("post-", i));
      reaction.set_kind("like");
      reaction.set_user_id(told);
    }
    return clients_.at("server")->RecordReactions(request).status();
  }

  static PrivateRedis* redis_;
  static RunningStack* stack_;
  std::string app_key_;
  std::map<std::string, std::unique_ptr<Client>> clients_;

  static void SetUpTestSuite() {
    redis_ = new PrivateRedis();
    RunningStackOptions options;
    options.processes = {"server", "server-2", "relay", "worker-social", "worker-otp"};
    options.redis_url = redis_->url();
    stack_ = new RunningStack(options);
  }
  static void TearDownTestSuite() {
    delete stack_;
    delete redis_;
  }
};

PrivateRedis* Limits::redis_ = nullptr;
RunningStack* Limits::stack_ = nullptr;

TEST_F(Limits, RefuseWithATimeToWaitAndThenLetInAgain) {
  Ctl({"app", "limits", app_key_, "--app-rate", "1", "--app-burst", "120"});
  ASSERT_OK(Send("bob", 120));
  const absl::Status refused = Send("bob", 120);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("limit=app")));
  EXPECT_EQ(ReasonOf(refused), "RATE_LIMITED");
  ASSERT_TRUE(RetryDelayOf(refused).has_value());
  EXPECT_THAT(*RetryDelayOf(refused), AllOf(Gt(absl::ZeroDuration()), Le(absl::Seconds(120))));
  EXPECT_TRUE(WaitFor([&] { return Send("bob", 1).ok(); }));
}

TEST_F(Limits, CountTogetherWhatAllServersLetIn) {
  Ctl({"app", "limits", app_key_, "--sender-rate", "1", "--sender-burst", "120"});
  ASSERT_OK(Send("server", "bob", 120));
  EXPECT_TRUE(WaitFor([&] { return ReasonOf(Send("server-2", "bob", 100)) == "RATE_LIMITED"; }));
  EXPECT_OK(Send("server-2", "cyd", 100));
}

TEST_F(Limits, CountAnEventAsOne) {
  Ctl({"app", "limits", app_key_, "--app-rate", "1", "--app-burst", "120"});
  v1::PublishEventRequest event;
  event.set_type("like");
  event.set_actor_id("bob");
  event.mutable_audience()->mutable_users()->add_user_ids("ann");
  event.mutable_audience()->mutable_users()->add_user_ids("dan");
  ASSERT_OK(clients_.at("server")->PublishEvent(event));
  ASSERT_OK(Send("bob", 119));
  // Faster than places come back, however often the machine stands still.
  absl::Status refused;
  EXPECT_TRUE(WaitFor([&] {
    refused = clients_.at("server")->PublishEvent(event).status();
    return !refused.ok();
  }));
  EXPECT_EQ(ReasonOf(refused), "RATE_LIMITED");
}

TEST_F(Limits, CountReactionsThatTellSomebody) {
  Ctl({"app", "limits", app_key_, "--sender-rate", "1", "--sender-burst", "120"});
  ASSERT_OK(React("bob", 120));
  const absl::Status refused = React("bob", 120);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("limit=sender")));
  EXPECT_EQ(ReasonOf(refused), "RATE_LIMITED");
  EXPECT_EQ(ReasonOf(Send("bob", 120)), "RATE_LIMITED") << "they are one sender's";
  EXPECT_OK(React("bob", 500, /*told=*/""));
  EXPECT_OK(React("cyd", 120));
}

TEST_F(Limits, ShutAReactingRunawayOut) {
  Ctl({"app", "limits", app_key_, "--runaway", "50"});
  EXPECT_OK(React("bot", 500, /*told=*/""));
  EXPECT_EQ(ReasonOf(React("bot", 51)), "SENDER_TRIPPED");
  EXPECT_EQ(ReasonOf(React("bot", 1, /*told=*/"")), "SENDER_TRIPPED");
  EXPECT_EQ(ReasonOf(Send("bot", 1)), "SENDER_TRIPPED");
  EXPECT_OK(React("ann", 1));
}

TEST_F(Limits, NameABatchThatNeverFits) {
  Ctl({"app", "limits", app_key_, "--app-rate", "10"});
  const absl::Status refused = Send("bob", 11);
  EXPECT_EQ(ReasonOf(refused), "RATE_LIMITED");
  EXPECT_EQ(RetryDelayOf(refused), std::nullopt);
}

TEST_F(Limits, HoldWithoutRedisButForPaymentAndOtp) {
  Ctl({"app", "limits", app_key_, "--app-rate", "1", "--app-burst", "120"});
  ASSERT_OK(Send("bob", 100));
  redis_->Kill();
  EXPECT_EQ(ReasonOf(Send("bob", 120)), "RATE_LIMITED");
  for (int i = 0; i < 3; ++i) EXPECT_OK(Send("bob", 120, "otp.login"));
  EXPECT_THAT(MetricSum(*stack_, "server", "carillon_door_local_total"), Gt(0));
  redis_->Start();
  // It has forgotten all, and is asked again.
  EXPECT_TRUE(WaitFor([&] { return Send("bob", 120).ok(); }));
  EXPECT_EQ(ReasonOf(Send("bob", 120, "otp.login")), "RATE_LIMITED");
}

TEST_F(Limits, ShutARunawayOutEverywhereUntilItIsLifted) {
  Ctl({"app", "limits", app_key_, "--runaway", "50"});
  ASSERT_OK(Send("bot", 50));
  const absl::Status tripped = Send("bot", 100);
  EXPECT_THAT(tripped, StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("sender_id=bot")));
  EXPECT_EQ(ReasonOf(tripped), "SENDER_TRIPPED");
  EXPECT_EQ(ReasonOf(Send("bot", 1, "otp.login")), "SENDER_TRIPPED");
  EXPECT_OK(Send("ann", 1));
  EXPECT_TRUE(WaitFor([&] { return ReasonOf(Send("server-2", "bot", 1)) == "SENDER_TRIPPED"; }));
  const std::string all = stack_->database().Query("SELECT count(*) FROM tripped_senders");
  for (const char* server : {"server", "server-2"}) {
    // Those of other tests as well.
    EXPECT_TRUE(WaitFor([&] { return absl::StrCat(MetricSum(*stack_, server, "carillon_senders_tripped")) == all; }));
  }
  EXPECT_THAT(Ctl({"app", "tripped", "--app", app_key_}), AllOf(HasSubstr("bot"), HasSubstr("150"), HasSubstr("50")));
  EXPECT_THAT(Ctl({"app", "lift", app_key_, "bot"}), HasSubstr("lifted"));
  EXPECT_OK(Send("bot", 1));
  EXPECT_TRUE(WaitFor([&] { return Send("server-2", "bot", 1).ok(); }));
  EXPECT_THAT(Ctl({"app", "lift", app_key_, "bot"}), HasSubstr("not shut out"));
  EXPECT_THAT(Ctl({"app", "tripped", "--app", app_key_}), Not(HasSubstr("bot")));
}

TEST_F(Limits, MoveTheTimeOfASandboxAndOfNoOtherApp) {
  v1::AdvanceClockRequest advance;
  advance.mutable_by()->set_seconds(300 * 24 * 3600);
  Client& client = *clients_.at("server");
  const auto refused = client.AdvanceClock(advance);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(ReasonOf(refused.status()), "NOT_A_SANDBOX");
  EXPECT_THAT(Ctl({"app", "sandbox", app_key_}), HasSubstr("sandbox"));
  const absl::Time begin = absl::Now();
  ASSERT_OK_AND_ASSIGN(const auto moved, client.AdvanceClock(advance));
  EXPECT_GE(moved.app_time().seconds(), absl::ToUnixSeconds(begin + absl::Hours(300 * 24)) - 1);
  ASSERT_OK_AND_ASSIGN(const auto sent, client.SendNotification(Request("like", "ann")));
  EXPECT_GE(sent.notification().create_time().seconds(), moved.app_time().seconds());
  EXPECT_TRUE(WaitFor([&] { return StateOf(client, sent.notification().notification_id()) == v1::STATE_DELIVERED; }));
  advance.mutable_by()->set_seconds(0);
  EXPECT_THAT(client.AdvanceClock(advance), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("by")));
  // The command is the stack's own app's: no sandbox.
  const auto plain = stack_->Carillonctl({"app", "advance", "8h"});
  ASSERT_OK(plain);
  EXPECT_EQ(plain->exit_status, 1);
}

}  // namespace
}  // namespace carillon::testing
