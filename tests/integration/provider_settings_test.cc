// Providers, their secrets and the statistics: set and read with carillonctl,
// through the real server.
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"
#include "tests/kit/scratch_directory.h"
#include "tests/kit/test_keys.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using Arguments = std::vector<std::string>;

constexpr const char* kSms = R"json([{"channel": "sms", "providers": [
  {"name": "first", "timeout": "2s", "twilio": {"endpoint": "http://127.0.0.1:9", "account_sid": "AC01",
                                                "password": "PASSWORD", "from": "+15005550006"}},
  {"name": "second", "vonage": {"api_key": "key", "api_secret": "hunter3", "from": "Carillon"}}]}])json";
constexpr const char* kMail = R"json([{"channel": "email", "providers": [
  {"name": "relay", "smtp": {"host": "127.0.0.1", "port": 25, "security": "none", "from_address": "a@example.org"}}]}])json";

class ProviderSettings : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { stack_ = new RunningStack({.processes = {"server"}}); }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static CommandResult Run(const Arguments& arguments) {
    const auto result = stack_->Carillonctl(arguments);
    EXPECT_OK(result);
    return result.value_or(CommandResult{.exit_status = -1, .output = "", .errors = ""});
  }
  CommandResult Apply(const std::string& json) {
    std::ofstream(scratch_.Path("providers.json")) << json;
    return Run({"providers", "apply", scratch_.Path("providers.json")});
  }
  static std::string WithPassword(const std::string& password) {
    std::string json = kSms;
    return json.replace(json.find("PASSWORD"), 8, password);
  }
  static std::string Query(const std::string& statements) { return stack_->database().Query(statements); }
  static std::string Log(const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  static std::string App() {
    return absl::StrCat("(SELECT app_id FROM apps WHERE app_key = '", stack_->app_key(), "')");
  }

  static RunningStack* stack_;
  const ScratchDirectory scratch_;
};

RunningStack* ProviderSettings::stack_ = nullptr;

TEST_F(ProviderSettings, AreAppliedFromAFileAndListedWithoutSecrets) {
  const CommandResult applied = Apply(WithPassword("hunter2"));
  ASSERT_EQ(applied.exit_status, 0) << applied.errors;
  EXPECT_EQ(applied.output, "sms: 2 providers\n");
  ASSERT_EQ(Apply(kMail).exit_status, 0);
  const CommandResult listed = Run({"providers", "list"});
  ASSERT_EQ(listed.exit_status, 0) << listed.errors;
  EXPECT_THAT(listed.output, ContainsRegex("CHANNEL +NAME +KIND +LANE +BREAKER +SINCE +RETRY +ERROR\n"
                                           "email +relay +smtp +- +closed +- +- +-\n"
                                           "sms +first +twilio +- +closed +- +- +-\n"
                                           "sms +second +vonage +- +closed +- +- +-\n"));
  EXPECT_THAT(Run({"providers", "list", "--channel=email"}).output, AllOf(HasSubstr("relay"), Not(HasSubstr("first"))));
  const CommandResult json = Run({"providers", "list", "--json"});
  EXPECT_THAT(json.output, AllOf(HasSubstr("\"password\":\"***\""), HasSubstr("\"account_sid\":\"AC01\"")));
  EXPECT_THAT(absl::StrCat(json.output, listed.output, applied.output), Not(HasSubstr("hunter")));
}

TEST_F(ProviderSettings, AreUnreadableInTheDatabaseAndInTheLog) {
  ASSERT_EQ(Apply(WithPassword("hunter2")).exit_status, 0);
  EXPECT_EQ(Query("SELECT count(*) FROM providers WHERE position('hunter2'::bytea IN sealed) > 0"), "0");
  EXPECT_EQ(Query("SELECT count(*) FROM providers WHERE channel = 'sms'"), "2");
  EXPECT_THAT(Log(stack_->log_file("server")), Not(HasSubstr("hunter2")));
}

TEST_F(ProviderSettings, KeepWhatIsGivenMaskedAndTheTimeOfWhatDidNotChange) {
  ASSERT_EQ(Apply(WithPassword("hunter2")).exit_status, 0);
  const std::string sealed = Query("SELECT md5(sealed::text) FROM providers WHERE name = 'first'");
  ASSERT_EQ(Apply(WithPassword("***")).exit_status, 0);
  EXPECT_EQ(Query("SELECT md5(sealed::text) FROM providers WHERE name = 'first'"), sealed);
  ASSERT_EQ(Apply(WithPassword("another")).exit_status, 0);
  EXPECT_NE(Query("SELECT md5(sealed::text) FROM providers WHERE name = 'first'"), sealed);
}

TEST_F(ProviderSettings, AreRefusedWithThePathOfEveryFault) {
  const CommandResult refused = Apply(R"json([{"channel": "CHANNEL_APNS", "providers": [
    {"name": "apns", "apns": {"team_id": "x", "key_id": "KEY1234567", "private_key_pem": "hunter2", "topic": "a.b"}},
    {"name": "apns", "twilio": {"account_sid": "AC", "password": "***", "from": "1"}}]}])json");
  EXPECT_EQ(refused.exit_status, 1);
  EXPECT_THAT(refused.errors, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("providers[0].apns.team_id"),
                                    HasSubstr("providers[0].apns.private_key_pem"), HasSubstr("providers[1].settings"),
                                    HasSubstr("providers[1].name")));
  EXPECT_THAT(refused.errors, Not(HasSubstr("hunter2")));
  EXPECT_EQ(Query("SELECT count(*) FROM providers WHERE channel = 'apns'"), "0");
}

TEST_F(ProviderSettings, AreRefusedBeforeTheCallIfTheFileIsNone) {
  EXPECT_THAT(Run({"providers", "apply", scratch_.Path("missing")}).errors, HasSubstr("can't read"));
  EXPECT_THAT(Apply("{}").errors, HasSubstr("must be a JSON array"));
  EXPECT_THAT(Apply(R"([{"channel": "sms"}, {"chanel": "sms"}])").errors, AllOf(HasSubstr("[1]"), HasSubstr("chanel")));
  EXPECT_THAT(Run({"providers", "list", "--channel=fax"}).errors, HasSubstr("--channel"));
}

TEST_F(ProviderSettings, BelongToTheirAppAndNeedItsAdmin) {
  ASSERT_EQ(Apply(kMail).exit_status, 0);
  const nlohmann::json other = stack_->CreateApp("another admin");
  Client client({.address = stack_->address(), .app_key = other["app"]["app_key"], .app_secret = other["app_secret"]});
  ASSERT_OK_AND_ASSIGN(const auto listed, client.ListProviders({}));
  EXPECT_EQ(listed.providers_size(), 0);
  const nlohmann::json sender = stack_->CreateApp("sender", "send");
  Client denied(
      {.address = stack_->address(), .app_key = sender["app"]["app_key"], .app_secret = sender["app_secret"]});
  EXPECT_THAT(denied.ListProviders({}), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(denied.SetProviders({}), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(denied.GetStats({}), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(ProviderSettings, ShowWhatTheWorkersThinkUntilTheyChangeOrAreSetAgainAsMended) {
  ASSERT_EQ(Apply(WithPassword("hunter2")).exit_status, 0);
  const auto think = [&](const std::string& what) {
    Query(absl::StrCat(
        "INSERT INTO provider_health (app_id, lane, channel, name, breaker, misconfigured, error, since, retry_at) "
        "VALUES (",
        App(), ", 'otp', 'sms', 'first', 'open', ", what, ")"));
  };
  think("true, '401', '2026-11-26 10:00:00+00', '2026-11-26 10:00:30+00'");
  EXPECT_THAT(Run({"providers", "list"}).output,
              HasSubstr("otp   open     2026-11-26 10:00:00.000  2026-11-26 10:00:30.000  misconfigured: 401"));
  ASSERT_EQ(Apply(WithPassword("***")).exit_status, 0);
  EXPECT_THAT(Run({"providers", "list"}).output, Not(HasSubstr("misconfigured")));

  think("false, 'an outage', now(), now() + interval '1 hour'");
  ASSERT_EQ(Apply(WithPassword("***")).exit_status, 0);
  EXPECT_THAT(Run({"providers", "list"}).output, HasSubstr("an outage"));
  ASSERT_EQ(Apply(WithPassword("another")).exit_status, 0);
  EXPECT_THAT(Run({"providers", "list"}).output, Not(HasSubstr("an outage")));
}

TEST_F(ProviderSettings, ReleaseWhatWaitedForThem) {
  ASSERT_EQ(Apply(R"([{"channel": "fcm"}])").exit_status, 0);
  // A day ahead: nothing but the call releases them.
  for (const char* lane : {"otp", "payment"}) {
    Query(absl::StrCat(
        "WITH ids AS (SELECT uuid_floor(now()) AS notification, gen_random_uuid() AS delivery), held AS (",
        "INSERT INTO deliveries (notification_id, delivery_id, app_id, retention_days, lane, channel, state, type,"
        " recipient_id) SELECT notification, delivery, ",
        App(), ", 7, '", lane, "', 'fcm', 'held', 'otp.login', 'ann' FROM ids) ",
        "INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel,"
        " recipient_id, exchange, routing_key, type, payload) SELECT ",
        App(), ", now() + interval '1 day', notification, delivery, 7, '", lane,
        "', 'provider', 'fcm', 'ann', 'carillon.delivery', '", lane, ".fcm', 'otp.login', 'x' FROM ids"));
  }
  const std::string waiting = "SELECT count(*) FROM schedules WHERE channel = 'fcm'";
  ASSERT_EQ(Apply(R"([{"channel": "fcm"}])").exit_status, 0);
  EXPECT_EQ(Query(waiting), "2");
  ASSERT_EQ(Apply(kMail).exit_status, 0);
  EXPECT_EQ(Query(waiting), "2");
  v1::SetProvidersRequest request;
  request.set_channel(v1::CHANNEL_FCM);
  v1::Provider& fcm = *request.add_providers();
  fcm.set_name("fcm");
  fcm.mutable_fcm()->set_service_account_json(nlohmann::json({{"project_id", "p"},
                                                              {"client_email", "a@p.iam.gserviceaccount.com"},
                                                              {"private_key", NewRsaKeyPem()},
                                                              {"token_uri", "https://oauth2.googleapis.com/token"}})
                                                  .dump());
  Client client = ClientOf(*stack_);
  ASSERT_OK(client.SetProviders(request));
  EXPECT_EQ(Query(waiting), "0");
  EXPECT_EQ(Query("SELECT string_agg(lane, ' ' ORDER BY lane) FROM outbox WHERE type = 'otp.login'"), "otp payment");
}

TEST_F(ProviderSettings, StatsAreShownByDayTypeAndChannel) {
  Query(absl::StrCat("INSERT INTO daily_stats (app_id, day, part, type, channel, kind, count) VALUES (", App(),
                     ", '2026-11-26', 0, 'otp.login', 'sms', 'sent', 40), (", App(),
                     ", '2026-11-26', 1, 'otp.login', 'sms', 'sent', 2), (", App(),
                     ", '2026-11-26', 0, 'otp.login', 'sms', 'delivered', 41), (", App(),
                     ", '2026-11-27', 0, 'marketing.digest', 'email', 'opened', 7)"));
  const CommandResult stats = Run({"stats", "--from=2026-11-01", "--to=2026-11-30"});
  EXPECT_THAT(stats.output,
              ContainsRegex("DAY +TYPE +CHANNEL +SENT +DELIVERED +UNDELIVERED +OPENED +CLICKED +SUPPRESSED +EXPIRED "
                            "+DEAD\n2026-11-26 +otp.login +sms +42 +41 +0 +0 +0 +0 +0 +0\n"
                            "2026-11-27 +marketing.digest +email +0 +0 +0 +7 +0 +0 +0 +0\n"))
      << stats.errors;
  EXPECT_THAT(Run({"stats", "--from=2026-11-01", "--to=2026-11-30", "--type=otp.login", "--channel=sms"}).output,
              AllOf(HasSubstr("otp.login"), Not(HasSubstr("digest"))));
  EXPECT_THAT(Run({"stats", "--from=2026-11-01", "--to=2026-11-26", "--json"}).output,
              AllOf(HasSubstr("\"sent\":\"42\""), Not(HasSubstr("digest"))));
  EXPECT_THAT(Run({"stats", "--from=yesterday", "--to=2026-11-26"}).errors, HasSubstr("from_day"));
}

TEST_F(ProviderSettings, NeedAMasterKeyInServerAndWorker) {
  for (const std::string& key : {std::string(), std::string("0123")}) {
    for (const Arguments& program :
         {Arguments{"/carillon-server", "--listen=127.0.0.1:0"}, Arguments{"/carillon-worker", "--lane=otp"}}) {
      std::map<std::string, std::string> environment = stack_->Environment();
      environment["CARILLON_MASTER_KEY"] = key;
      const auto result = RunCommand({absl::StrCat(BinaryDirectory(), program[0]), program[1]}, environment);
      ASSERT_OK(result);
      EXPECT_EQ(result->exit_status, 2) << program[0];
      EXPECT_THAT(result->errors, AllOf(HasSubstr("config.invalid"), HasSubstr("CARILLON_MASTER_KEY")));
    }
  }
}

}  // namespace
}  // namespace carillon::testing
