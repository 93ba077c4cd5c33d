// SendGrid, Twilio, Vonage and webhooks: what is sent, and what the answers mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/provider_fixture.h"
#include "workers/channels/sendgrid_provider.h"
#include "workers/channels/twilio_provider.h"
#include "workers/channels/vonage_provider.h"
#include "workers/channels/webhook_provider.h"

namespace carillon {
namespace {

using nlohmann::json;
using testing::Answer;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using testing::MakeMessage;
using ::testing::Not;
using testing::StatusIs;

constexpr AttemptOutcome kAccepted = AttemptOutcome::kAccepted;
constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

struct CodeCase {
  int code;
  AttemptOutcome outcome;
  bool may_try_next = false;
  bool only_this_recipient = false;
  const char* suppress_reason = "";
};

TEST(ClassifyTwilioAnswer, KnowsItsCodes) {
  const CodeCase kCases[] = {
      {21211, kPermanent, false, false, "the number is not valid"},
      {21408, kPermanent, true},
      {21610, kPermanent, false, false, "the recipient opted out"},
      {21612, kPermanent, true},
      {21614, kPermanent, false, false, "the number takes no SMS"},
      {21608, kPermanent, true},
      {30004, kPermanent, true},
      {30005, kPermanent, true},
      {30006, kPermanent, true},
      {30007, kPermanent, true},
      {20429, kRetryable},
      {30003, kRetryable, false, true},
      {30008, kRetryable, false, true},
      {30001, kRetryable},
      {20003, kBadSender},
      {20404, kBadSender},
      {21606, kBadSender},
      {30002, kBadSender},
      {30036, kPermanent},
      {21602, kPermanent},
  };
  for (const CodeCase& one : kCases) {
    const std::string body = json{{"code", one.code}, {"message", "words"}, {"status", 400}}.dump();
    const SendResult result = ClassifyTwilioAnswer(Answer(400, body), kNow);
    EXPECT_EQ(result.outcome, one.outcome) << one.code;
    EXPECT_EQ(result.may_try_next, one.may_try_next) << one.code;
    EXPECT_EQ(result.only_this_recipient, one.only_this_recipient) << one.code;
    EXPECT_EQ(result.suppress_reason, one.suppress_reason) << one.code;
    EXPECT_EQ(result.code, absl::StrCat(one.code));
    EXPECT_EQ(result.error, "words");
  }
}

TEST(ClassifyTwilioAnswer, WithoutACodeTheStatusDecides) {
  EXPECT_EQ(ClassifyTwilioAnswer(Answer(429, "", {{"retry-after", "7"}}), kNow).retry_after, absl::Seconds(7));
  EXPECT_EQ(ClassifyTwilioAnswer(Answer(500), kNow).outcome, kRetryable);
  EXPECT_EQ(ClassifyTwilioAnswer(Answer(503, "<html>"), kNow).outcome, kRetryable);
  EXPECT_EQ(ClassifyTwilioAnswer(Answer(401), kNow).outcome, kBadSender);
  EXPECT_EQ(ClassifyTwilioAnswer(Answer(302), kNow).outcome, kPermanent);
  EXPECT_EQ(ClassifyTwilioAnswer(Answer(400, R"({"code": "x"})"), kNow).outcome, kPermanent);
}

TEST(ClassifyTwilioAnswer, AcceptedKeepsTheSid) {
  const SendResult result = ClassifyTwilioAnswer(Answer(201, R"({"sid":"SM1","status":"queued"})"), kNow);
  EXPECT_EQ(result.outcome, kAccepted);
  EXPECT_EQ(result.provider_message_id, "SM1");
}

ProviderMessage Sms(const std::string& text = "Your code is 123456 & 50% \u20ac") {
  ProviderMessage message = MakeMessage();
  message.address = "+15551234567";
  message.content.set_text(text);
  return message;
}

TEST(TwilioBody, IsAForm) {
  v1::TwilioSettings settings;
  settings.set_from("+15550001111");
  ProviderMessage message = Sms();
  EXPECT_EQ(TwilioBody(settings, message, kNow),
            "To=%2B15551234567&Body=Your%20code%20is%20123456%20%26%2050%25%20%E2%82%AC&From=%2B15550001111");
  settings.set_messaging_service_sid("MG1");
  message.receipt_url = "https://n.example/receipts/x";
  message.expire_time = kNow + absl::Seconds(90);
  const std::string body = TwilioBody(settings, message, kNow);
  EXPECT_THAT(body, HasSubstr("&MessagingServiceSid=MG1&StatusCallback=https%3A%2F%2Fn.example%2Freceipts%2Fx"));
  EXPECT_THAT(body, HasSubstr("&ValidityPeriod=90"));
  EXPECT_THAT(body, Not(HasSubstr("From=")));
}

TEST(ClassifyVonageAnswer, KnowsItsStatuses) {
  const CodeCase kCases[] = {
      {0, kAccepted},         {1, kRetryable},
      {2, kPermanent, true},  {3, kPermanent, true},
      {4, kBadSender},        {5, kRetryable},
      {6, kPermanent, true},  {7, kPermanent, true},
      {8, kBadSender},        {9, kBadSender},
      {10, kRetryable},       {11, kBadSender},
      {12, kPermanent, true}, {14, kBadSender},
      {15, kBadSender},       {22, kPermanent, true},
      {23, kPermanent, true}, {29, kPermanent, true},
      {32, kBadSender},       {33, kPermanent, false, false, "the number is deactivated"},
      {99, kPermanent, true},
  };
  for (const CodeCase& one : kCases) {
    const json part = {{"status", absl::StrCat(one.code)}, {"error-text", "words"}, {"message-id", "m1"}};
    const SendResult result = ClassifyVonageAnswer(Answer(200, json{{"messages", {part}}}.dump()), kNow);
    EXPECT_EQ(result.outcome, one.outcome) << one.code;
    EXPECT_EQ(result.may_try_next, one.may_try_next) << one.code;
    EXPECT_EQ(result.suppress_reason, one.suppress_reason) << one.code;
    EXPECT_EQ(result.provider_message_id, one.code == 0 ? "m1" : "");
  }
}

TEST(ClassifyVonageAnswer, APartThatFailedDecides) {
  const std::string body = R"({"messages":[{"status":"0","message-id":"a"},{"status":"1","error-text":"slow"}]})";
  EXPECT_EQ(ClassifyVonageAnswer(Answer(200, body), kNow).outcome, kRetryable);
}

TEST(ClassifyVonageAnswer, WithoutPartsTheHttpStatusDecides) {
  EXPECT_EQ(ClassifyVonageAnswer(Answer(500, "oops"), kNow).outcome, kRetryable);
  EXPECT_EQ(ClassifyVonageAnswer(Answer(429, "", {{"retry-after", "2"}}), kNow).retry_after, absl::Seconds(2));
  EXPECT_EQ(ClassifyVonageAnswer(Answer(401), kNow).outcome, kBadSender);
  EXPECT_EQ(ClassifyVonageAnswer(Answer(404), kNow).outcome, kPermanent);
  // It may have been taken.
  EXPECT_EQ(ClassifyVonageAnswer(Answer(200, "?"), kNow).outcome, AttemptOutcome::kUnconfirmed);
  EXPECT_EQ(ClassifyVonageAnswer(Answer(200, R"({"messages":[]})"), kNow).outcome, AttemptOutcome::kUnconfirmed);
}

TEST(VonageBody, IsAFormWithTheDeliveryAsReference) {
  v1::VonageSettings settings;
  settings.set_api_key("key");
  settings.set_api_secret("secret");
  settings.set_from("Carillon");
  ProviderMessage message = Sms("Your code is 1");
  EXPECT_EQ(VonageBody(settings, message, kNow),
            "api_key=key&api_secret=secret&from=Carillon&to=15551234567&text=Your%20code%20is%201"
            "&client-ref=0190163d-8694-739b-aea5-966c26f8ad90");
  message.content.set_text("\u4f60\u597d");
  message.receipt_url = "https://n.example/r";
  message.expire_time = kNow + absl::Seconds(1);
  EXPECT_THAT(VonageBody(settings, message, kNow), HasSubstr("&type=unicode&"));
  EXPECT_THAT(VonageBody(settings, message, kNow), HasSubstr("&callback=https%3A%2F%2Fn.example%2Fr&ttl=20000"));
}

TEST(ClassifySendGridAnswer, KnowsItsStatuses) {
  const std::pair<int, AttemptOutcome> kCases[] = {
      {202, kAccepted},  {400, kPermanent}, {401, kBadSender}, {403, kBadSender}, {404, kPermanent},
      {413, kPermanent}, {429, kRetryable}, {500, kRetryable}, {503, kRetryable},
  };
  for (const auto& [status, outcome] : kCases)
    EXPECT_EQ(ClassifySendGridAnswer(Answer(status), kNow).outcome, outcome) << status;
}

TEST(ClassifySendGridAnswer, TellsTheFieldAndTheWords) {
  const std::string body = R"({"errors":[{"message":"is missing","field":"content","help":null}]})";
  EXPECT_EQ(ClassifySendGridAnswer(Answer(400, body), kNow).error, "content: is missing");
  EXPECT_EQ(ClassifySendGridAnswer(Answer(400, R"({"errors":[{"message":"bad","field":null}]})"), kNow).error, "bad");
  EXPECT_EQ(ClassifySendGridAnswer(Answer(202, "", {{"x-message-id", "abc"}}), kNow).provider_message_id, "abc");
}

TEST(ClassifySendGridAnswer, WaitsUntilTheLimitIsLifted) {
  EXPECT_EQ(ClassifySendGridAnswer(Answer(429, "", {{"x-ratelimit-reset", "1700000030"}}), kNow).retry_after,
            absl::Seconds(30));
  EXPECT_EQ(ClassifySendGridAnswer(Answer(429, "", {{"retry-after", "5"}}), kNow).retry_after, absl::Seconds(5));
}

TEST(SendGridBody, HasTheMailAndTheDelivery) {
  ProviderMessage message = MakeMessage();
  message.address = "ann@example.com";
  message.content.set_html("<p>Thank you.</p>");
  message.receipt_token = "token";
  message.reply_to = "help@shop.example";
  message.unsubscribe_url = "https://n.example/u/1";
  EXPECT_EQ(json::parse(SendGridBody({.address = "noreply@shop.example", .name = "Shop"}, message)), json::parse(R"({
    "personalizations": [{"to": [{"email": "ann@example.com"}]}],
    "from": {"email": "noreply@shop.example", "name": "Shop"}, "reply_to": {"email": "help@shop.example"},
    "subject": "Your receipt",
    "content": [{"type": "text/plain", "value": "Thank you."}, {"type": "text/html", "value": "<p>Thank you.</p>"}],
    "headers": {"Message-ID": "<0190163d-8694-739b-aea5-966c26f8ad90@shop.example>", "Auto-Submitted": "auto-generated",
                "X-Carillon-Id": "0190163d-8694-739b-aea5-966c26f8ad91",
                "List-Unsubscribe": "<https://n.example/u/1>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    "custom_args": {"carillon": "token"}})"));
}

TEST(WebhookSignature, IsTheOneOfTheSpecification) {
  ASSERT_OK_AND_ASSIGN(const std::string key, DecodeWebhookSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
  EXPECT_EQ(SignWebhook({key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(WebhookSignature, IsOnePerSecret) {
  EXPECT_THAT(SignWebhook({std::string(24, 'a'), std::string(24, 'b')}, "id", 1, "body"),
              ::testing::MatchesRegex("v1,[A-Za-z0-9+/=]+ v1,[A-Za-z0-9+/=]+"));
}

TEST(WebhookSecret, HasAPrefixAndTwentyFourToSixtyFourBytes) {
  for (const char* secret : {"", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%",
                             "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}) {
    EXPECT_THAT(DecodeWebhookSecret(secret), StatusIs(absl::StatusCode::kInvalidArgument)) << secret;
  }
}

TEST(WebhookBody, HasTypeTimeAndData) {
  EXPECT_EQ(json::parse(WebhookBody(MakeMessage())), json::parse(R"({
    "type": "payment.receipt", "timestamp": "2023-11-14T22:13:20.123Z",
    "data": {"notification_id": "0190163d-8694-739b-aea5-966c26f8ad91", "user_id": "ann", "actor_id": "bob",
             "object_id": "order-9", "title": "Receipt", "body": "You paid 12.50",
             "action_link": "https://shop.example/orders/9", "data": {"amount": "12.50"}}})"));
}

TEST(WebhookBody, IsShortenedToTwentyKilobytes) {
  ProviderMessage message = MakeMessage();
  message.content.set_body(std::string(30'000, 'b'));
  EXPECT_EQ(WebhookBody(message).size(), 20'000u);
  message.data_json = json{{"x", std::string(30'000, 'x')}}.dump();
  EXPECT_EQ(WebhookBody(message), "");
}

TEST(ClassifyWebhookAnswer, OnlySuccessSucceeds) {
  const std::pair<int, AttemptOutcome> kCases[] = {
      {200, kAccepted},  {204, kAccepted},  {301, kPermanent}, {302, kPermanent}, {307, kPermanent}, {400, kPermanent},
      {401, kPermanent}, {404, kPermanent}, {410, kBadSender}, {429, kRetryable}, {408, kRetryable}, {500, kRetryable},
      {501, kRetryable}, {502, kRetryable}, {503, kRetryable}, {504, kRetryable},
  };
  for (const auto& [status, outcome] : kCases)
    EXPECT_EQ(ClassifyWebhookAnswer(Answer(status), kNow).outcome, outcome) << status;
  EXPECT_EQ(ClassifyWebhookAnswer(Answer(503, "", {{"retry-after", "9"}}), kNow).retry_after, absl::Seconds(9));
  EXPECT_EQ(ClassifyWebhookAnswer(Answer(410), kNow).retry_after, absl::Hours(24));
  EXPECT_EQ(ClassifyWebhookAnswer(Answer(422, "your code is 1"), kNow).error, "") << "it may quote the message";
}

}  // namespace
}  // namespace carillon
