// SMTP over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/contract/channels/channels_fixture.h"
#include "tests/kit/environment.h"
#include "tests/kit/loopback.h"
#include "tests/kit/process.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using nlohmann::json;
using testing::FreeAddress;
using ::testing::HasSubstr;
using testing::IsListening;
using testing::Process;
using testing::RunNodeScript;
using testing::Sandbox;
using ::testing::SizeIs;
using testing::SourceDirectory;
using testing::WaitFor;

constexpr AttemptOutcome kAccepted = AttemptOutcome::kAccepted;
constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;
constexpr AttemptOutcome kUnconfirmed = AttemptOutcome::kUnconfirmed;

class SmtpProviderTest : public testing::ChannelsTest {
 protected:
  static std::set<int> Connections() {
    std::set<int> connections;
    for (const json& message : Sandbox::Messages("smtp")) connections.insert(message["connection"].get<int>());
    return connections;
  }

  int port_ = 0;
};

TEST_F(SmtpProviderTest, SendsAMailThatAnotherLibraryReads) {
  ProviderMessage message = MailTo("ann@example.com");
  message.content.set_subject(
      "Gr\u00fc\u00dfe aus K\u00f6ln \u2013 Ihre Quittung \u00fcber 12,50 \u20ac ist da, und sie ist ziemlich lang");
  message.content.set_text("Danke f\u00fcr alles.\n.\n..dots\n" + std::string(2000, 'x') + "\n");
  message.content.set_html("<p>Danke f\u00fcr <b>alles</b> = 1</p>");
  message.unsubscribe_url = "https://n.example/u/abc";
  message.reply_to = "help@shop.example";
  const auto provider = MakeSmtp();
  const SendResult result = Send(*provider, message);
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
  EXPECT_EQ(result.provider_message_id, absl::StrCat(message.delivery_id.ToString(), "@shop.example"));

  ASSERT_THAT(Sandbox::Messages("smtp"), SizeIs(1));
  const json received = Sandbox::Messages("smtp")[0];
  EXPECT_EQ(received["envelope"], (json{{"from", "noreply@shop.example"}, {"to", {"ann@example.com"}}}));
  const json mail = RunNodeScript("parse_mail.mjs", received["raw"].get<std::string>());
  EXPECT_EQ(mail["subject"], message.content.subject());
  EXPECT_EQ(mail["from"][0]["address"], "noreply@shop.example");
  EXPECT_EQ(mail["from"][0]["name"], "Caf\u00e9 \u2615");
  EXPECT_EQ(mail["to"][0]["address"], "ann@example.com");
  EXPECT_EQ(mail["text"], message.content.text());
  EXPECT_EQ(mail["html"], message.content.html());
  EXPECT_EQ(mail["message_id"], absl::StrCat("<", message.delivery_id.ToString(), "@shop.example>"));
  EXPECT_THAT(received["raw"].get<std::string>(), HasSubstr("\r\nList-Unsubscribe: <https://n.example/u/abc>\r\n"));
  EXPECT_THAT(received["raw"].get<std::string>(),
              HasSubstr("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
  EXPECT_THAT(mail["attachments"], SizeIs(0));
}

TEST_F(SmtpProviderTest, EncryptsBySTARTTLSAndVerifiesTheServer) {
  const auto provider = MakeSmtp(v1::SMTP_SECURITY_STARTTLS);
  EXPECT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kAccepted);
  EXPECT_EQ(Sandbox::Messages("smtp")[0]["secure"], true);

  v1::Provider settings = SmtpSettings();
  settings.clear_ca_pem();
  settings.mutable_smtp()->set_security(v1::SMTP_SECURITY_STARTTLS);
  const SendResult refused = Send(*Make(Channel::kEmail, settings), MailTo("ann@example.com"));
  EXPECT_EQ(refused.outcome, kRetryable);
  EXPECT_THAT(refused.error, HasSubstr("certificate"));
  EXPECT_THAT(Sandbox::Messages("smtp"), SizeIs(1));
}

TEST_F(SmtpProviderTest, EncryptsFromTheFirstByteOn) {
  const std::string address = FreeAddress();
  const std::string port = address.substr(address.find(':') + 1);
  const std::string server = absl::StrCat(SourceDirectory(), "/tests/contract/channels/tls_mail_server.mjs");
  const auto process = Process::Start({.command = {"node", server, port, Sandbox::Path("")}});
  ASSERT_OK(process);
  ASSERT_TRUE(WaitFor([&] { return IsListening(address); }));
  v1::Provider settings = SmtpSettings();
  settings.mutable_smtp()->set_security(v1::SMTP_SECURITY_TLS);
  ASSERT_TRUE(absl::SimpleAtoi(port, &port_));
  settings.mutable_smtp()->set_port(port_);
  const SendResult result = Send(*Make(Channel::kEmail, settings), MailTo("ann@example.com"));
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
}

TEST_F(SmtpProviderTest, SendsManyMailsOnOneConnection) {
  const auto provider = MakeSmtp(v1::SMTP_SECURITY_STARTTLS);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kAccepted);
  EXPECT_THAT(Sandbox::Messages("smtp"), SizeIs(20));
  EXPECT_THAT(Connections(), SizeIs(1));
}

TEST_F(SmtpProviderTest, SendsManyMailsAtATime) {
  const auto provider = MakeSmtp();
  const auto mails = Many(100, [](int i) { return MailTo(absl::StrCat("user", i, "@example.com")); });
  for (const SendResult& result : SendAll(*provider, mails)) EXPECT_EQ(result.outcome, kAccepted) << result.error;
  EXPECT_THAT(Sandbox::Messages("smtp"), SizeIs(100));
}

TEST_F(SmtpProviderTest, ReportsWrongCredentialsAsTheSenders) {
  v1::Provider settings = SmtpSettings();
  settings.mutable_smtp()->set_password("wrong");
  const SendResult result = Send(*Make(Channel::kEmail, settings), MailTo("ann@example.com"));
  EXPECT_EQ(result.outcome, kBadSender);
  EXPECT_EQ(result.code, "535 5.7.8");
}

struct StageCase {
  const char* stage;
  int code;
  const char* text;
  AttemptOutcome outcome;
};

TEST_F(SmtpProviderTest, ReadsRefusalsOfEveryStage) {
  const StageCase kCases[] = {
      {"connect", 421, "4.3.2 Busy", kRetryable},     {"auth", 454, "4.7.0 Later", kRetryable},
      {"mail", 451, "4.3.0 Local error", kRetryable}, {"mail", 550, "5.7.1 Not you", kBadSender},
      {"rcpt", 450, "4.2.1 Greylisted", kRetryable},  {"rcpt", 550, "5.1.1 No such user", kPermanent},
      {"rcpt", 421, "4.3.2 Closing", kRetryable},     {"data", 451, "4.7.1 Later", kRetryable},
      {"data", 554, "5.7.1 Spam", kPermanent},
  };
  for (const StageCase& one : kCases) {
    Sandbox::Script("smtp",
                    {{"mode", "error"}, {"stage", one.stage}, {"code", one.code}, {"reason", one.text}, {"times", 1}});
    const auto provider = MakeSmtp();
    CurlTransport fresh;
    ProviderDeps deps = Deps();
    deps.transport = &fresh;
    const auto other = *MakeProvider(SmtpSettings(), Channel::kEmail, deps);
    const SendResult result = Send(*other, MailTo("ann@example.com"));
    EXPECT_EQ(result.outcome, one.outcome) << one.stage << " " << one.code << ": " << result.error;
    EXPECT_THAT(result.code, HasSubstr(absl::StrCat(one.code))) << one.stage;
    EXPECT_EQ(result.suppress_reason.empty(), absl::string_view(one.text) != "5.1.1 No such user");
    // What goes wrong with one mail is over with the next.
    EXPECT_EQ(Send(*other, MailTo("bob@example.com")).outcome, kAccepted) << one.stage;
  }
}

TEST_F(SmtpProviderTest, KeepsAConnectionOnWhichARecipientWasRefused) {
  const auto provider = MakeSmtp();
  ASSERT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kAccepted);
  Sandbox::Script("smtp", {{"mode", "error"}, {"code", 550}, {"match", "nobody@"}});
  EXPECT_EQ(Send(*provider, MailTo("nobody@example.com")).outcome, kPermanent);
  EXPECT_EQ(Send(*provider, MailTo("bob@example.com")).outcome, kAccepted);
  EXPECT_THAT(Connections(), SizeIs(1));
}

TEST_F(SmtpProviderTest, AServerThatHangsDelaysNoOtherMail) {
  Sandbox::Script("smtp", {{"mode", "hang"}, {"match", "slow@"}});
  const auto provider = MakeSmtp();
  std::atomic<bool> ended = false;
  SendResult slow;
  provider->Send(MailTo("slow@example.com"), absl::Seconds(60), [&](SendResult result) {
    slow = std::move(result);
    ended = true;
  });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kAccepted);
  EXPECT_FALSE(ended);
  transport_.Stop();
  ASSERT_TRUE(WaitFor([&] { return ended.load(); }));
  // The final dot was sent.
  EXPECT_EQ(slow.outcome, kUnconfirmed);
}

TEST_F(SmtpProviderTest, TheFinalDotPartsNotSentFromUnconfirmed) {
  const auto provider = MakeSmtp();
  // Of those that hang; long enough for a busy machine to come that far.
  const absl::Duration timeout = absl::Seconds(4);
  Sandbox::Script("smtp", {{"mode", "hang"}, {"stage", "rcpt"}, {"times", 1}});
  EXPECT_EQ(Send(*provider, MailTo("ann@example.com"), timeout).outcome, kRetryable);
  Sandbox::Script("smtp", {{"mode", "drop"}, {"stage", "rcpt"}, {"times", 1}});
  EXPECT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kRetryable);
  EXPECT_THAT(Sandbox::Messages("smtp"), SizeIs(0));
  Sandbox::Script("smtp", {{"mode", "hang_after_accept"}, {"times", 1}});
  const SendResult hung = Send(*provider, MailTo("ann@example.com"), timeout);
  EXPECT_EQ(hung.outcome, kUnconfirmed);
  // The transport's own limit is ten.
  EXPECT_LT(hung.latency, absl::Milliseconds(9500));
  Sandbox::Script("smtp", {{"mode", "drop"}, {"after_accept", true}, {"times", 1}});
  EXPECT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kUnconfirmed);
  EXPECT_THAT(Sandbox::Messages("smtp"), SizeIs(2));
  Sandbox::Script("smtp", {{"mode", "drop"}, {"times", 1}});
  EXPECT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kUnconfirmed);
  EXPECT_THAT(Sandbox::Messages("smtp"), SizeIs(2));
}

TEST_F(SmtpProviderTest, AKeptConnectionThatWasClosedIsReplaced) {
  const auto provider = MakeSmtp();
  ASSERT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, kAccepted);
  Sandbox::Script("smtp", {{"mode", "refuse"}});
  const SendResult refused = Send(*provider, MailTo("ann@example.com"));
  EXPECT_EQ(refused.outcome, kRetryable);
  EXPECT_EQ(refused.code, "not_sent");
  Sandbox::ResetScripts("smtp");
  // Its port opens a moment later.
  EXPECT_TRUE(WaitFor([&] { return Send(*provider, MailTo("ann@example.com")).outcome == kAccepted; }));
  EXPECT_THAT(Connections(), SizeIs(2));
}

TEST_F(SmtpProviderTest, ForbidsPrivateAddresses) {
  ProviderDeps deps = Deps();
  deps.allow_private_webhooks = false;
  const auto provider = *MakeProvider(SmtpSettings(), Channel::kEmail, deps);
  const SendResult result = Send(*provider, MailTo("ann@example.com"));
  EXPECT_EQ(result.outcome, kBadSender);
  EXPECT_EQ(result.code, "forbidden_address");
}

}  // namespace
}  // namespace carillon
