// The HTTP port of the real server, as mail programs, browsers and providers use it.
#include <atomic>
#include <fstream>
#include <iterator>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "carillon/channels/link_tokens.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/loopback.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Answer {
  int status = 0;
  std::string head;
  std::string body;
};

class HttpPort : public ::testing::Test {
 protected:
  struct Sent {
    std::string user;
    LinkTarget target;
  };

  static void SetUpTestSuite() {
    address_ = FreeAddress();
    stack_ = new RunningStack(
        {.processes = {"server"},
         .flags = {{"server", {absl::StrCat("--http-listen=", address_), "--http-operations=false"}}}});
    app_id_ = stack_->database().Query("SELECT app_id FROM apps WHERE app_key = '" + stack_->app_key() + "'");
    ASSERT_TRUE(WaitFor([] { return IsListening(address_); }));
  }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static LinkTokens Tokens() {
    return LinkTokens(*MasterKey::FromHex(stack_->Environment().at(MasterKey::kVariable)), "https://example.org");
  }
  // What a link ends in: its path here.
  static std::string Path(const std::string& url) { return std::string(absl::StripPrefix(url, "https://example.org")); }

  static std::string UnsubscribePath(const Sent& sent) {
    return Path(Tokens().UnsubscribeUrl(sent.target, "marketing.digest", absl::StrCat(sent.user, "@example.org")));
  }

  static std::string Log() {
    std::ifstream file(stack_->log_file("server"));
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  static std::string Query(const std::string& statements) { return stack_->database().Query(statements); }

  // A notification with one delivery that was sent, and its recipient.
  static Sent AddSent(Channel channel) {
    static std::atomic<int> count = 0;
    const std::string user = absl::StrCat("user-", ++count);
    const absl::Time now = absl::Now();
    int64_t app = 0;
    EXPECT_TRUE(absl::SimpleAtoi(app_id_, &app));
    const Sent sent{user, {AppId(app), NewUuid7(now), NewUuid7(now), channel, 7}};
    const std::string ids = absl::StrCat("'", sent.target.notification.ToString(), "'");
    Query(absl::StrCat("INSERT INTO recipients (app_id, recipient_id, email, phone) VALUES (", app, ", '", user, "', '",
                       user, "@example.org', '+4915112345", 100 + count, "')"));
    Query(absl::StrCat(
        "INSERT INTO notifications (notification_id, app_id, created_at, finished_at, retention_days, lane,"
        " state, type, recipient_id, channels) VALUES (",
        ids, ", ", app, ", now(), now(), 7, 'marketing', 'delivered', 'marketing.digest', '", user, "', '{email}')"));
    Query(absl::StrCat(
        "INSERT INTO deliveries (notification_id, delivery_id, app_id, retention_days, lane, channel, state,"
        " type, recipient_id, finished_at, provider_message_id) VALUES (",
        ids, ", '", sent.target.delivery.ToString(), "', ", app, ", 7, 'marketing', '", ToString(channel),
        "', 'sent', 'marketing.digest', '", user, "', now(), 'id-of-", user, "')"));
    return sent;
  }
  static std::string StateOf(const Sent& sent) {
    return Query(absl::StrCat("SELECT state || coalesce(' ' || detail, '') FROM deliveries WHERE delivery_id = '",
                              sent.target.delivery.ToString(), "'"));
  }
  static std::string InteractionsOf(const Sent& sent) {
    return Query(
        absl::StrCat("SELECT string_agg(channel || ':' || kind, ' ' ORDER BY kind) FROM interactions WHERE"
                     " notification_id = '",
                     sent.target.notification.ToString(), "'"));
  }
  static std::string SuppressionsOf(const Sent& sent) {
    return Query(
        absl::StrCat("SELECT string_agg(s.type || ':' || s.reason, ' ') FROM suppressions s JOIN recipients r ON"
                     " s.app_id = r.app_id AND s.address IN (r.email, r.phone) WHERE r.recipient_id = '",
                     sent.user, "'"));
  }

  static Answer Ask(const std::string& path, const std::vector<std::string>& arguments = {}) {
    std::vector<std::string> command = {
        "curl", "-sS", "--max-time", "20", "-D", "-", absl::StrCat("http://", address_, path)};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const auto result = RunCommand(command);
    EXPECT_OK(result);
    if (!result.ok()) return {};
    EXPECT_EQ(result->exit_status, 0) << result->errors;
    Answer answer;
    const size_t end = std::min(result->output.size(), result->output.find("\r\n\r\n"));
    answer.head = result->output.substr(0, end);
    answer.body = result->output.substr(std::min(result->output.size(), end + 4));
    const std::vector<std::string> words = absl::StrSplit(answer.head, ' ');
    EXPECT_TRUE(words.size() > 1 && absl::SimpleAtoi(words[1], &answer.status)) << result->output;
    return answer;
  }
  static Answer Post(const std::string& path, const std::string& type, const std::string& body,
                     std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.end(), {"-H", absl::StrCat("Content-Type: ", type), "--data-binary", body});
    return Ask(path, arguments);
  }
  static Answer PostForm(const std::string& path, const std::string& body) {
    return Post(path, "application/x-www-form-urlencoded", body);
  }
  static std::vector<std::string> Credentials() {
    return {"-H", absl::StrCat("x-app-key: ", stack_->app_key()), "-H",
            absl::StrCat("x-app-secret: ", stack_->app_secret())};
  }

  static RunningStack* stack_;
  static std::string address_;
  static std::string app_id_;
};

RunningStack* HttpPort::stack_ = nullptr;
std::string HttpPort::address_;
std::string HttpPort::app_id_;

TEST_F(HttpPort, CountsAnOpenedMailOnceAndAlwaysShowsThePixel) {
  const Sent sent = AddSent(Channel::kEmail);
  const std::string path = Path(Tokens().PixelUrl(sent.target));
  for (const std::string& asked : {path, path, std::string("/t/o/no-token.gif"), std::string("/t/o/x")}) {
    const Answer answer = Ask(asked);
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(answer.head, AllOf(HasSubstr("Content-Type: image/gif"), HasSubstr("Cache-Control: no-store")));
    EXPECT_EQ(answer.body.size(), 43u);
    EXPECT_EQ(answer.body.substr(0, 6), "GIF89a");
  }
  EXPECT_TRUE(WaitFor([&] { return InteractionsOf(sent) == "email:opened"; }));
  EXPECT_EQ(
      Query(absl::StrCat("SELECT count(*) FROM outbox WHERE exchange = 'carillon.events' AND convert_from(payload,"
                         " 'UTF8')::json ->> 'delivery_id' = '",
                         sent.target.delivery.ToString(), "'")),
      "1");
}

TEST_F(HttpPort, LeadsATrackedLinkToItsTargetAndCountsAClickAndAnOpening) {
  const Sent sent = AddSent(Channel::kEmail);
  const std::string path = Path(Tokens().ClickUrl(sent.target, "https://shop.example.org/a?b=c&d=1#e"));
  const Answer answer = Ask(path);
  EXPECT_EQ(answer.status, 302);
  EXPECT_THAT(answer.head, AllOf(HasSubstr("Location: https://shop.example.org/a?b=c&d=1#e\r\n"),
                                 HasSubstr("Referrer-Policy: no-referrer")));
  EXPECT_TRUE(WaitFor([&] { return InteractionsOf(sent) == "email:clicked email:opened"; }));
  const Answer bad = Ask(path.substr(0, path.size() - 2));
  EXPECT_EQ(bad.status, 404);
  EXPECT_THAT(bad.head, AllOf(HasSubstr("text/plain"), Not(HasSubstr("Location"))));
}

TEST_F(HttpPort, UnsubscribesOnPostOnlyAndOnce) {
  const Sent sent = AddSent(Channel::kEmail);
  const std::string path = UnsubscribePath(sent);
  const Answer page = Ask(path);
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body,
              AllOf(HasSubstr("<html lang=\"en\">"), HasSubstr("method=\"post\""), HasSubstr("value=\"One-Click\"")));
  EXPECT_THAT(page.head, HasSubstr("Content-Security-Policy: default-src 'none'"));
  EXPECT_EQ(PostForm(path, "something=else").status, 400);
  EXPECT_EQ(SuppressionsOf(sent), "");
  EXPECT_EQ(PostForm(path, "List-Unsubscribe=One-Click").status, 200);
  EXPECT_EQ(Ask(path, {"-F", "List-Unsubscribe=One-Click"}).status, 200);
  EXPECT_EQ(SuppressionsOf(sent), "marketing.digest:unsubscribed");
  EXPECT_EQ(PostForm("/u/no-token", "List-Unsubscribe=One-Click").status, 404);
  EXPECT_EQ(Ask("/u/no-token").status, 404);
}

TEST_F(HttpPort, UnsubscribesWhenNothingElseIsKept) {
  const Sent sent = AddSent(Channel::kEmail);
  Query(absl::StrCat("DELETE FROM deliveries WHERE delivery_id = '", sent.target.delivery.ToString(), "'"));
  Query(absl::StrCat("DELETE FROM recipients WHERE app_id = ", app_id_, " AND recipient_id = '", sent.user, "'"));
  EXPECT_EQ(PostForm(UnsubscribePath(sent), "List-Unsubscribe=One-Click").status, 200);
  EXPECT_EQ(Query(absl::StrCat("SELECT type || ' ' || reason FROM suppressions WHERE address IS NULL AND"
                               " address_hash = sha256('",
                               sent.user, "@example.org') AND app_id = ", app_id_)),
            "marketing.digest unsubscribed");
}

TEST_F(HttpPort, TakesTokensForTheirOwnPurposeOnly) {
  const Sent sent = AddSent(Channel::kEmail);
  const std::string receipt = Tokens().ReceiptToken(sent.target);
  EXPECT_EQ(PostForm(absl::StrCat("/u/", receipt), "List-Unsubscribe=One-Click").status, 404);
  EXPECT_EQ(Ask(absl::StrCat("/t/c/", receipt)).status, 404);
  const std::string unsubscribe(absl::StripPrefix(UnsubscribePath(sent), "/u/"));
  EXPECT_EQ(PostForm(absl::StrCat("/receipts/twilio/", unsubscribe), "MessageStatus=delivered").status, 404);
  EXPECT_EQ(StateOf(sent), "sent");
}

TEST_F(HttpPort, TakesTwiliosReceipts) {
  const Sent arrived = AddSent(Channel::kSms);
  const Sent refused = AddSent(Channel::kSms);
  const std::string path = Path(Tokens().ReceiptUrl("twilio", arrived.target));
  EXPECT_EQ(PostForm(path, "MessageStatus=sent").status, 204);
  EXPECT_EQ(StateOf(arrived), "sent");
  EXPECT_EQ(PostForm(path, "MessageStatus=delivered").status, 204);
  EXPECT_EQ(PostForm(path, "MessageStatus=undelivered&ErrorCode=30003").status, 204);
  EXPECT_EQ(StateOf(arrived), "delivered");
  EXPECT_EQ(
      PostForm(Path(Tokens().ReceiptUrl("twilio", refused.target)), "MessageStatus=failed&ErrorCode=21610").status,
      204);
  EXPECT_EQ(StateOf(refused), "undelivered 21610");
  EXPECT_EQ(SuppressionsOf(refused), ":opted out: 21610");
  const Answer faulty = PostForm(path, "MessageSid=SM1");
  EXPECT_EQ(faulty.status, 400);
  EXPECT_THAT(faulty.body, AllOf(HasSubstr(R"("code":"INVALID_ARGUMENT")"), HasSubstr("MessageStatus")));
  EXPECT_EQ(PostForm("/receipts/twilio/no-token", "MessageStatus=delivered").status, 404);
}

TEST_F(HttpPort, TellsOperatorsWhenAProviderBlamesTheSender) {
  const Sent sent = AddSent(Channel::kSms);
  EXPECT_EQ(
      PostForm(Path(Tokens().ReceiptUrl("twilio", sent.target)), "MessageStatus=undelivered&ErrorCode=30007").status,
      204);
  EXPECT_EQ(StateOf(sent), "undelivered 30007");
  EXPECT_EQ(SuppressionsOf(sent), "");
  EXPECT_TRUE(WaitFor([] { return absl::StrContains(Log(), R"("event":"provider.reported")"); }));
}

TEST_F(HttpPort, TakesVonagesReceiptsByQueryAndByJson) {
  const Sent by_query = AddSent(Channel::kSms);
  const Sent by_json = AddSent(Channel::kSms);
  EXPECT_EQ(
      Ask(absl::StrCat(Path(Tokens().ReceiptUrl("vonage", by_query.target)), "?status=delivered&err-code=0")).status,
      204);
  EXPECT_EQ(StateOf(by_query), "delivered");
  EXPECT_EQ(Post(Path(Tokens().ReceiptUrl("vonage", by_json.target)), "application/json",
                 R"({"status": "expired", "err-code": "1"})")
                .status,
            204);
  EXPECT_EQ(StateOf(by_json), "undelivered 1: expired");
  EXPECT_THAT(Ask(absl::StrCat(Path(Tokens().ReceiptUrl("vonage", by_query.target)), "?status=%x")).body,
              HasSubstr("query: must be URL-encoded"));
}

TEST_F(HttpPort, TakesSendGridsEvents) {
  const Sent bounced = AddSent(Channel::kEmail);
  const Sent opened = AddSent(Channel::kEmail);
  const std::string events = absl::StrCat(
      R"([{"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "unknown user", "carillon": ")",
      Tokens().ReceiptToken(bounced.target), R"("}, {"event": "delivered", "carillon": "somebody else's"}, 7,)",
      R"({"event": "delivered", "carillon": ")", Tokens().ReceiptToken(opened.target),
      R"("}, {"event": "click", "carillon": ")", Tokens().ReceiptToken(opened.target), R"("}])");
  EXPECT_EQ(Post("/receipts/sendgrid", "application/json", events).status, 204);
  EXPECT_EQ(StateOf(bounced), "undelivered 5.1.1: unknown user");
  EXPECT_EQ(SuppressionsOf(bounced), ":hard bounce");
  EXPECT_EQ(StateOf(opened), "delivered");
  EXPECT_EQ(InteractionsOf(opened), "email:clicked email:opened");
  EXPECT_EQ(Post("/receipts/sendgrid", "application/json", "{}").status, 400);
}

TEST_F(HttpPort, MasksWhomASendGridEventNames) {
  const Sent sent = AddSent(Channel::kEmail);
  const std::string events =
      absl::StrCat(R"([{"event": "bounce", "type": "bounce", "reason": "no )", sent.user,
                   R"(@example.org here", "carillon": ")", Tokens().ReceiptToken(sent.target), R"("}])");
  EXPECT_EQ(Post("/receipts/sendgrid", "application/json", events).status, 204);
  EXPECT_EQ(StateOf(sent), "undelivered no *** here");
}

TEST_F(HttpPort, TakesReceiptsFromAnAppWithItsCredentials) {
  const Sent sent = AddSent(Channel::kFcm);
  const std::string body = absl::StrCat(R"({"receipts": [{"providerMessageId": "id-of-)", sent.user,
                                        R"(", "channel": "CHANNEL_FCM", "state": "DELIVERY_STATE_DELIVERED"}]})");
  EXPECT_EQ(Post("/receipts/generic", "application/json", body).status, 401);
  const Answer answer = Post("/receipts/generic", "application/json", body, Credentials());
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"matched":1})");
  EXPECT_EQ(StateOf(sent), "delivered");
  const Answer faulty = Post("/receipts/generic", "application/json", R"({"receipts": [{}]})", Credentials());
  EXPECT_EQ(faulty.status, 400);
  EXPECT_THAT(faulty.body, HasSubstr("receipts[0].provider_message_id"));
  EXPECT_EQ(Post("/receipts/generic", "application/json", "no json", Credentials()).status, 400);
  EXPECT_THAT(Post("/receipts/generic", "application/json", R"({"receits": []})", Credentials()).body,
              AllOf(HasSubstr("RecordReceiptsRequest"), HasSubstr("receits")));
  const auto other = stack_->CreateApp("no-send", "feed");
  EXPECT_EQ(Post("/receipts/generic", "application/json", body,
                 {"-H", absl::StrCat("x-app-key: ", other["app"]["app_key"].get<std::string>()), "-H",
                  absl::StrCat("x-app-secret: ", other["app_secret"].get<std::string>())})
                .status,
            403);
}

TEST_F(HttpPort, ServesReceiptsAndInteractionsByRpcToo) {
  const Sent sent = AddSent(Channel::kEmail);
  Client client = ClientOf(*stack_);
  v1::RecordReceiptsRequest receipts;
  v1::Receipt& receipt = *receipts.add_receipts();
  receipt.set_notification_id(sent.target.notification.ToString());
  receipt.set_delivery_id(sent.target.delivery.ToString());
  receipt.set_state(v1::DELIVERY_STATE_UNDELIVERED);
  receipt.set_suppress_address(true);
  receipt.set_error("mailbox closed");
  ASSERT_OK_AND_ASSIGN(const auto recorded, client.RecordReceipts(receipts));
  EXPECT_EQ(recorded.matched(), 1);
  EXPECT_EQ(StateOf(sent), "undelivered mailbox closed");
  EXPECT_EQ(SuppressionsOf(sent), ":mailbox closed");
  v1::RecordInteractionRequest interaction;
  interaction.set_user_id(sent.user);
  interaction.set_notification_id(sent.target.notification.ToString());
  interaction.set_kind(v1::INTERACTION_KIND_OPENED);
  EXPECT_TRUE(client.RecordInteraction(interaction)->recorded());
  EXPECT_FALSE(client.RecordInteraction(interaction)->recorded());
  interaction.set_user_id("somebody else");
  EXPECT_THAT(client.RecordInteraction(interaction), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(InteractionsOf(sent), "in_app:opened");
}

TEST_F(HttpPort, AnswersWhatItDoesNotServe) {
  EXPECT_EQ(Ask("/").status, 404);
  const Answer answer = Ask("/t/o/x.gif", {"-X", "DELETE"});
  EXPECT_EQ(answer.status, 405);
  EXPECT_THAT(answer.head, HasSubstr("Allow: GET"));
}

TEST_F(HttpPort, LeavesOutWhatIsForOperators) {
  EXPECT_EQ(Ask("/ops").status, 404);
  EXPECT_EQ(Post("/carillon.v1.AdminService/ListQueues", "application/json", "{}", Credentials()).status, 404);
  EXPECT_EQ(Post("/carillon.v1.FeedService/ListFeed", "application/json", R"({"userId":"ada"})", Credentials()).status,
            200);
}

TEST_F(HttpPort, RefusesKeysThatAreNoText) {
  for (const char* path : {"/v1/feed/events?user_id=ada", "/receipts/generic"}) {
    std::vector<std::string> arguments = {"-H", "x-app-key: \xff", "-H", "x-app-secret: secret"};
    if (absl::StartsWith(path, "/receipts")) arguments.insert(arguments.end(), {"-d", "{}"});
    EXPECT_EQ(Ask(path, arguments).status, 401) << path;
  }
  EXPECT_THAT(Log(), Not(HasSubstr("22021")));
}

TEST_F(HttpPort, RefusesBodiesAndHeadersThatAreTooLarge) {
  const std::string file = ::testing::TempDir() + "/http_port_test_body";
  ASSERT_OK(RunCommand({"truncate", "-s", "1048577", file}));
  EXPECT_EQ(Post("/receipts/sendgrid", "application/json", absl::StrCat("@", file), {"-H", "Expect:"}).status, 413);
  EXPECT_EQ(Ask("/t/o/x.gif", {"-H", absl::StrCat("X-Large: ", std::string(9000, 'x'))}).status, 431);
  EXPECT_EQ(Ask(absl::StrCat("/t/o/", std::string(9000, 'x'))).status, 431);
}

TEST_F(HttpPort, ServesManyClientsAtOnceAndCountsTheirRequests) {
  const Sent sent = AddSent(Channel::kEmail);
  const std::string url = absl::StrCat("http://", address_, Path(Tokens().PixelUrl(sent.target)), "?[1-300]");
  const double before = MetricSum(*stack_, "server", "carillon_http_requests_total");
  ASSERT_OK_AND_ASSIGN(const CommandResult result, RunCommand({"curl", "-sS", "--max-time", "60", "-Z",
                                                               "--parallel-max", "100", "-o", "/dev/null", url}));
  EXPECT_EQ(result.exit_status, 0) << result.errors;
  EXPECT_EQ(MetricSum(*stack_, "server", "carillon_http_requests_total") - before, 300);
  EXPECT_TRUE(WaitFor([&] { return InteractionsOf(sent) == "email:opened"; }));
}

TEST_F(HttpPort, StopsInGoodOrder) {
  const std::optional<int> status = stack_->StopProcess("server");
  EXPECT_EQ(status, 0);
  stack_->StartProcess("server");
  ASSERT_TRUE(WaitFor([] { return IsListening(address_); }));
}

}  // namespace
}  // namespace carillon::testing
