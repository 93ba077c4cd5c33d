// SendGrid, Twilio, Vonage and webhooks over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/trace_context.h"
#include "tests/contract/channels/channels_fixture.h"

namespace carillon {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::kWebhookSecrets;
using ::testing::Not;
using testing::RunNodeScript;
using testing::Sandbox;
using ::testing::SizeIs;

constexpr AttemptOutcome kAccepted = AttemptOutcome::kAccepted;
constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;
constexpr AttemptOutcome kUnconfirmed = AttemptOutcome::kUnconfirmed;
// The transport's own limit is ten seconds: what ends well before has heeded this one.
constexpr absl::Duration kShort = absl::Seconds(4);
constexpr absl::Duration kBeforeTheTransport = absl::Milliseconds(9500);

class HttpProvidersTest : public testing::ChannelsTest {
 protected:
  static void Fail(const std::string& provider, json rule) {
    rule["mode"] = "error";
    rule["times"] = 1;
    Sandbox::Script(provider, rule);
  }
};

TEST_F(HttpProvidersTest, SendGridTakesTheMail) {
  ProviderMessage message = MailTo("ann@example.com");
  message.content.set_html("<p>Thank you.</p>");
  message.receipt_token = "receipt-token";
  message.unsubscribe_url = "https://n.example/u/1";
  const auto provider = Make(Channel::kEmail, SendGridSettings());
  const SendResult result = Send(*provider, message);
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
  ASSERT_THAT(Sandbox::Messages("sendgrid"), SizeIs(1));
  const json received = Sandbox::Messages("sendgrid")[0];
  EXPECT_EQ(received["id"], result.provider_message_id);
  EXPECT_EQ(received["subject"], "Your receipt");
  EXPECT_EQ(received["html"], "<p>Thank you.</p>");
  EXPECT_EQ(received["body"]["custom_args"]["carillon"], "receipt-token");
  EXPECT_TRUE(provider->reports_receipts());
}

TEST_F(HttpProvidersTest, SendGridErrorsMeanWhatTheirStatusSays) {
  const auto provider = Make(Channel::kEmail, SendGridSettings());
  for (const auto& [status, outcome] :
       {std::pair(400, kPermanent), {401, kBadSender}, {413, kPermanent}, {500, kRetryable}}) {
    Fail("sendgrid", {{"status", status}});
    EXPECT_EQ(Send(*provider, MailTo("ann@example.com")).outcome, outcome) << status;
  }
  Fail("sendgrid", {{"status", 429}, {"retry_after", 7}});
  const SendResult result = Send(*provider, MailTo("ann@example.com"));
  EXPECT_EQ(result.outcome, kRetryable);
  EXPECT_EQ(result.retry_after, absl::Seconds(7));
}

TEST_F(HttpProvidersTest, TwilioTakesTheSms) {
  ProviderMessage message = SmsTo("+15551234567");
  message.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  message.expire_time = absl::Now() + absl::Minutes(2);
  const auto provider = Make(Channel::kSms, TwilioSettings());
  const SendResult result = Send(*provider, message);
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
  const json received = Sandbox::Messages("twilio").at(0);
  EXPECT_EQ(received["id"], result.provider_message_id);
  EXPECT_EQ(received["text"], "Your code is 123456");
  EXPECT_EQ(received["to"], "+15551234567");
  const std::string trace = received["headers"]["traceparent"];
  EXPECT_EQ(TraceIdOf(trace), TraceIdOf(message.traceparent));
  EXPECT_NE(trace, message.traceparent);
}

TEST_F(HttpProvidersTest, TwilioErrorsMeanWhatTheirCodeSays) {
  const auto provider = Make(Channel::kSms, TwilioSettings());
  for (const auto& [code, outcome] : {std::pair(21211, kPermanent),
                                      {21610, kPermanent},
                                      {21612, kPermanent},
                                      {20003, kBadSender},
                                      {20429, kRetryable}}) {
    Fail("twilio", {{"code", code}});
    const SendResult result = Send(*provider, SmsTo("+15551234567"));
    EXPECT_EQ(result.outcome, outcome) << code;
    EXPECT_EQ(result.code, absl::StrCat(code));
  }
  Fail("twilio", {{"status", 429}, {"retry_after", 3}});
  EXPECT_EQ(Send(*provider, SmsTo("+15551234567")).retry_after, absl::Seconds(3));
  const SendResult invalid = Send(*provider, SmsTo("+1"));
  EXPECT_EQ(invalid.code, "21211");
  EXPECT_FALSE(invalid.suppress_reason.empty());
}

TEST_F(HttpProvidersTest, ATwilioThatHangsIsUnconfirmedAtTheDeadline) {
  const auto provider = Make(Channel::kSms, TwilioSettings());
  Sandbox::Script("twilio", {{"mode", "hang_after_accept"}, {"times", 1}});
  const SendResult result = Send(*provider, SmsTo("+15551234567"), kShort);
  EXPECT_EQ(result.outcome, kUnconfirmed);
  EXPECT_GE(result.latency, kShort - absl::Milliseconds(10));
  EXPECT_LT(result.latency, kBeforeTheTransport);
}

TEST_F(HttpProvidersTest, TwilioIsAskedBeforeASecondAttempt) {
  const auto provider = Make(Channel::kSms, TwilioSettings());
  ProviderMessage message = SmsTo("+15551234567");
  message.create_time = absl::Now();
  Sandbox::Script("twilio", {{"mode", "hang_after_accept"}, {"times", 1}});
  ASSERT_EQ(Send(*provider, message, kShort).outcome, kUnconfirmed);
  message.may_have_been_sent = true;
  const SendResult found = Send(*provider, message);
  EXPECT_EQ(found.outcome, kAccepted);
  EXPECT_EQ(found.provider_message_id, Sandbox::Messages("twilio").at(0)["id"]);
  EXPECT_THAT(Sandbox::Messages("twilio"), SizeIs(1));
  // Other words, or another number, are another message.
  message.content.set_text("Your code is 654321");
  EXPECT_EQ(Send(*provider, message).outcome, kAccepted);
  message.address = "+15557654321";
  EXPECT_EQ(Send(*provider, message).outcome, kAccepted);
  EXPECT_THAT(Sandbox::Messages("twilio"), SizeIs(3));
}

TEST_F(HttpProvidersTest, ACallThatIsCutOffIsNeverMadeAgainByItself) {
  const auto provider = Make(Channel::kSms, TwilioSettings());
  // So that the next one goes over a kept connection, which libcurl is quick to replace.
  ASSERT_EQ(Send(*provider, SmsTo("+15551234567")).outcome, kAccepted);
  Sandbox::Script("twilio", {{"mode", "drop"}, {"after_accept", true}, {"times", 1}});
  EXPECT_EQ(Send(*provider, SmsTo("+15551234567")).outcome, kUnconfirmed);
  EXPECT_THAT(Sandbox::Messages("twilio"), SizeIs(2));
  Sandbox::Script("twilio", {{"mode", "drop"}, {"times", 1}});
  EXPECT_EQ(Send(*provider, SmsTo("+15551234567")).outcome, kUnconfirmed);
  EXPECT_THAT(Sandbox::Messages("twilio"), SizeIs(2));
}

TEST_F(HttpProvidersTest, APortWhereNobodyListensIsNotSent) {
  v1::Provider settings = TwilioSettings();
  // Of the discard service, which runs nowhere.
  settings.mutable_twilio()->set_endpoint("http://127.0.0.1:9");
  const SendResult result = Send(*Make(Channel::kSms, settings), SmsTo("+15551234567"));
  EXPECT_EQ(result.outcome, kRetryable);
  EXPECT_EQ(result.code, "not_sent");
}

TEST_F(HttpProvidersTest, VonageTakesTheSmsInAnyScript) {
  ProviderMessage message = SmsTo("+15551234567");
  message.content.set_text("\u4f60\u597d, your code is 1");
  const auto provider = Make(Channel::kSms, VonageSettings());
  const SendResult result = Send(*provider, message);
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
  const json received = Sandbox::Messages("vonage").at(0);
  EXPECT_EQ(received["id"], result.provider_message_id);
  EXPECT_EQ(received["text"], message.content.text());
  EXPECT_EQ(received["client_ref"], message.delivery_id.ToString());
  EXPECT_EQ(received["to"], "15551234567");
}

TEST_F(HttpProvidersTest, VonageErrorsMeanWhatTheirStatusSays) {
  const auto provider = Make(Channel::kSms, VonageSettings());
  for (const auto& [code, outcome] : {std::pair(1, kRetryable), {4, kBadSender}, {7, kPermanent}, {9, kBadSender}}) {
    Fail("vonage", {{"code", code}});
    EXPECT_EQ(Send(*provider, SmsTo("+15551234567")).outcome, outcome) << code;
  }
  Fail("vonage", {{"status", 503}});
  EXPECT_EQ(Send(*provider, SmsTo("+15551234567")).outcome, kRetryable);
}

TEST_F(HttpProvidersTest, AWebhookIsVerifiedByAnotherLibraryWithEitherSecret) {
  const ProviderMessage message = MailTo("");
  const auto provider = Make(Channel::kWebhook, WebhookSettings());
  EXPECT_EQ(Send(*provider, message).outcome, kAccepted);
  const json received = Sandbox::Messages("webhook").at(0);
  EXPECT_EQ(received["headers"]["webhook-id"], message.delivery_id.ToString());
  for (const char* secret : kWebhookSecrets) {
    const json verified =
        RunNodeScript("verify_webhook.mjs",
                      json{{"secret", secret}, {"headers", received["headers"]}, {"body", received["raw"]}}.dump());
    EXPECT_EQ(verified["type"], "payment.receipt");
    EXPECT_EQ(verified["data"]["user_id"], "ann");
  }
}

TEST_F(HttpProvidersTest, AWebhooksIdStaysTheSameOnEveryAttempt) {
  const ProviderMessage message = MailTo("");
  const auto provider = Make(Channel::kWebhook, WebhookSettings());
  for (int i = 0; i < 2; ++i) ASSERT_EQ(Send(*provider, message).outcome, kAccepted);
  EXPECT_EQ(Sandbox::Messages("webhook").at(0)["id"], Sandbox::Messages("webhook").at(1)["id"]);
}

TEST_F(HttpProvidersTest, WebhookAnswersMeanWhatTheirStatusSays) {
  const auto provider = Make(Channel::kWebhook, WebhookSettings());
  for (const auto& [status, outcome] :
       {std::pair(302, kPermanent), {404, kPermanent}, {410, kBadSender}, {500, kRetryable}}) {
    Fail("webhook", {{"status", status}});
    EXPECT_EQ(Send(*provider, MailTo("")).outcome, outcome) << status;
  }
  Fail("webhook", {{"status", 503}, {"retry_after", 11}});
  EXPECT_EQ(Send(*provider, MailTo("")).retry_after, absl::Seconds(11));
}

TEST_F(HttpProvidersTest, AWebhookToAPrivateAddressIsTheSendersFault) {
  ProviderDeps deps = Deps();
  deps.allow_private_webhooks = false;
  v1::Provider settings = WebhookSettings();
  settings.mutable_webhook()->set_url("https://localhost/webhook");
  const SendResult result = Send(**MakeProvider(settings, Channel::kWebhook, deps), MailTo(""));
  EXPECT_EQ(result.outcome, kBadSender);
  EXPECT_EQ(result.code, "forbidden_address");
}

TEST_F(HttpProvidersTest, KeepsItsConnection) {
  const auto provider = Make(Channel::kWebhook, WebhookSettings());
  for (int i = 0; i < 10; ++i) ASSERT_EQ(Send(*provider, MailTo("")).outcome, kAccepted);
  const std::vector<json> messages = Sandbox::Messages("webhook");
  for (const json& message : messages) EXPECT_EQ(message["connection"], messages[0]["connection"]);
}

}  // namespace
}  // namespace carillon
