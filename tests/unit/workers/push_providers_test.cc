// APNs and FCM: what is sent, and what the answers mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/unit/workers/provider_fixture.h"
#include "workers/channels/apns_provider.h"
#include "workers/channels/fcm_provider.h"
#include "workers/channels/recent_refusals.h"

namespace carillon {
namespace {

using nlohmann::json;
using testing::Answer;
using testing::MakeMessage;

constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadRecipient = AttemptOutcome::kBadRecipient;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

struct ApnsCase {
  int status;
  const char* reason;
  AttemptOutcome outcome;
};

TEST(ClassifyApnsAnswer, KnowsEveryReason) {
  const ApnsCase kCases[] = {
      {400, "BadDeviceToken", kBadRecipient},
      {400, "DeviceTokenNotForTopic", kPermanent},
      {400, "PayloadEmpty", kPermanent},
      {400, "BadCollapseId", kPermanent},
      {400, "BadExpirationDate", kPermanent},
      {400, "BadMessageId", kPermanent},
      {400, "BadPriority", kPermanent},
      {400, "BadTopic", kPermanent},
      {400, "MissingTopic", kPermanent},
      {400, "MissingDeviceToken", kPermanent},
      {400, "DuplicateHeaders", kPermanent},
      {400, "TopicDisallowed", kPermanent},
      {400, "IdleTimeout", kRetryable},
      {403, "ExpiredProviderToken", kBadSender},
      {403, "InvalidProviderToken", kBadSender},
      {403, "MissingProviderToken", kBadSender},
      {403, "BadCertificate", kBadSender},
      {403, "BadCertificateEnvironment", kBadSender},
      {403, "Forbidden", kBadSender},
      {404, "BadPath", kPermanent},
      {405, "MethodNotAllowed", kPermanent},
      {410, "Unregistered", kBadRecipient},
      {410, "ExpiredToken", kBadRecipient},
      {413, "PayloadTooLarge", kPermanent},
      {429, "TooManyRequests", kRetryable},
      {429, "TooManyProviderTokenUpdates", kRetryable},
      {500, "InternalServerError", kRetryable},
      {503, "ServiceUnavailable", kRetryable},
      {503, "Shutdown", kRetryable},
      {418, "SomethingNew", kPermanent},
  };
  for (const ApnsCase& one : kCases) {
    const SendResult result = ClassifyApnsAnswer(Answer(one.status, json{{"reason", one.reason}}.dump()), kNow);
    EXPECT_EQ(result.outcome, one.outcome) << one.reason;
    EXPECT_EQ(result.code, one.reason);
    EXPECT_EQ(result.only_this_recipient, one.reason == absl::string_view("TooManyRequests")) << one.reason;
    EXPECT_EQ(result.device_dead_since.has_value(), one.outcome == kBadRecipient) << one.reason;
  }
}

TEST(ClassifyApnsAnswer, TellsSinceWhenATokenIsDead) {
  const SendResult dead =
      ClassifyApnsAnswer(Answer(410, R"({"reason":"Unregistered","timestamp":1699999999123})"), kNow);
  EXPECT_EQ(dead.device_dead_since, absl::FromUnixMillis(1'699'999'999'123));
  EXPECT_EQ(ClassifyApnsAnswer(Answer(400, R"({"reason":"BadDeviceToken"})"), kNow).device_dead_since, kNow);
}

TEST(ClassifyApnsAnswer, WaitsWhenItsTokenChangedTooOften) {
  const SendResult result = ClassifyApnsAnswer(Answer(429, R"({"reason":"TooManyProviderTokenUpdates"})"), kNow);
  EXPECT_EQ(result.retry_after, absl::Minutes(1));
  EXPECT_FALSE(result.only_this_recipient);
}

TEST(ClassifyApnsAnswer, AcceptedKeepsTheId) {
  const SendResult result = ClassifyApnsAnswer(Answer(200, "", {{"apns-id", "abc"}}), kNow);
  EXPECT_EQ(result.outcome, AttemptOutcome::kAccepted);
  EXPECT_EQ(result.provider_message_id, "abc");
}

TEST(ClassifyApnsAnswer, WithoutAReasonTheStatusDecides) {
  EXPECT_EQ(ClassifyApnsAnswer(Answer(502, "<html>"), kNow).outcome, kRetryable);
  EXPECT_EQ(ClassifyApnsAnswer(Answer(403, ""), kNow).code, "403");
}

// What becomes of a device's refusal.
SendResult Refuse(RecentRefusals& refusals) {
  SendResult result{.outcome = AttemptOutcome::kBadRecipient, .device_dead_since = absl::UnixEpoch()};
  refusals.Judge(/*refused=*/true, "look", result);
  return result;
}

void Accept(RecentRefusals& refusals) {
  SendResult result{.outcome = AttemptOutcome::kAccepted};
  refusals.Judge(/*refused=*/false, "look", result);
}

TEST(RecentRefusals, ManyAreAMatterOfConfiguration) {
  RecentRefusals refusals;
  for (int i = 0; i < 9; ++i) EXPECT_EQ(Refuse(refusals).outcome, AttemptOutcome::kBadRecipient);
  EXPECT_EQ(Refuse(refusals).outcome, AttemptOutcome::kBadSender);
}

TEST(RecentRefusals, NoDeviceIsForgottenBeforeAnythingWasAccepted) {
  RecentRefusals refusals;
  EXPECT_FALSE(Refuse(refusals).device_dead_since.has_value());
  Accept(refusals);
  EXPECT_TRUE(Refuse(refusals).device_dead_since.has_value());
}

TEST(RecentRefusals, SomeAmongManyAreNot) {
  RecentRefusals refusals;
  for (int i = 0; i < 25; ++i) {
    Accept(refusals);
    EXPECT_EQ(Refuse(refusals).outcome, AttemptOutcome::kBadRecipient);
  }
  // 26 of the last 50.
  EXPECT_EQ(Refuse(refusals).outcome, AttemptOutcome::kBadSender);
  for (int i = 0; i < 50; ++i) Accept(refusals);
  EXPECT_EQ(Refuse(refusals).outcome, AttemptOutcome::kBadRecipient);
}

TEST(ApnsPayload, HasTheAlertAndWhatTheAppNeeds) {
  ProviderMessage message = MakeMessage();
  message.content.set_image_url("https://cdn.example/a.png");
  EXPECT_EQ(json::parse(ApnsPayload(message)), json::parse(R"({
    "aps": {"alert": {"title": "Receipt", "body": "You paid 12.50"}, "sound": "default", "mutable-content": 1},
    "action_link": "https://shop.example/orders/9", "image_url": "https://cdn.example/a.png",
    "notification_id": "0190163d-8694-739b-aea5-966c26f8ad91", "type": "payment.receipt"})"));
}

// A body of four-byte characters, and an image.
ProviderMessage LargePush() {
  ProviderMessage message = MakeMessage();
  std::string body;
  for (int i = 0; i < 2000; ++i) body += "\U0001F514";
  message.content.set_body(body);
  message.content.set_image_url(absl::StrCat("https://cdn.example/", std::string(900, 'i')));
  return message;
}

TEST(ApnsPayload, IsShortenedBetweenCharactersBeforeItLosesItsImage) {
  const std::string payload = ApnsPayload(LargePush());
  EXPECT_LE(payload.size(), 4096u);
  EXPECT_GT(payload.size(), 4090u);
  const json parsed = json::parse(payload);
  EXPECT_TRUE(parsed.contains("image_url"));
  EXPECT_EQ(parsed["aps"]["alert"]["body"].get<std::string>().size() % 4, 0u);
}

TEST(ApnsPayload, LosesItsImageWhenNoBodyIsLeft) {
  ProviderMessage message = LargePush();
  message.content.set_image_url(std::string(4000, 'i'));
  const json parsed = json::parse(ApnsPayload(message));
  EXPECT_FALSE(parsed.contains("image_url"));
  EXPECT_GT(parsed["aps"]["alert"]["body"].get<std::string>().size(), 3000u);
  message.content.set_action_link(std::string(5000, 'l'));
  EXPECT_EQ(ApnsPayload(message), "");
}

struct FcmCase {
  int status;
  const char* code;
  AttemptOutcome outcome;
};

std::string FcmErrorBody(absl::string_view code, const json& more = json::array()) {
  json details = more;
  details.push_back(
      {{"@type", "type.googleapis.com/google.firebase.fcm.v1.FcmError"}, {"errorCode", std::string(code)}});
  return json{{"error", {{"code", 400}, {"message", "words"}, {"status", "STATUS"}, {"details", details}}}}.dump();
}

TEST(ClassifyFcmAnswer, KnowsEveryCode) {
  const FcmCase kCases[] = {
      {404, "UNREGISTERED", kBadRecipient},
      {400, "INVALID_ARGUMENT", kPermanent},
      {403, "SENDER_ID_MISMATCH", kBadRecipient},
      {429, "QUOTA_EXCEEDED", kRetryable},
      {503, "UNAVAILABLE", kRetryable},
      {500, "INTERNAL", kRetryable},
      {401, "THIRD_PARTY_AUTH_ERROR", kBadSender},
      {400, "UNSPECIFIED_ERROR", kPermanent},
  };
  for (const FcmCase& one : kCases) {
    const SendResult result =
        ClassifyFcmAnswer(Answer(one.status, FcmErrorBody(one.code), {{"retry-after", "3"}}), kNow);
    EXPECT_EQ(result.outcome, one.outcome) << one.code;
    EXPECT_EQ(result.code, one.code);
    EXPECT_EQ(result.error, "words");
    EXPECT_EQ(result.device_dead_since.has_value(), one.outcome == kBadRecipient) << one.code;
    EXPECT_EQ(result.retry_after.has_value(), one.outcome == kRetryable) << one.code;
  }
}

TEST(ClassifyFcmAnswer, AnInvalidArgumentIsTheTokensFaultOnlyIfItSaysSo) {
  const auto violation = [](const char* field) {
    return json{{{"@type", "type.googleapis.com/google.rpc.BadRequest"}, {"fieldViolations", {{{"field", field}}}}}};
  };
  EXPECT_EQ(ClassifyFcmAnswer(Answer(400, FcmErrorBody("INVALID_ARGUMENT", violation("message.token"))), kNow).outcome,
            kBadRecipient);
  EXPECT_EQ(ClassifyFcmAnswer(Answer(400, FcmErrorBody("INVALID_ARGUMENT", violation("message.data"))), kNow).outcome,
            kPermanent);
}

TEST(ClassifyFcmAnswer, AQuotaMayBeTheDevicesOwn) {
  const auto quota = [](const char* subject) {
    return json{{{"@type", "type.googleapis.com/google.rpc.QuotaFailure"}, {"violations", {{{"subject", subject}}}}}};
  };
  EXPECT_TRUE(
      ClassifyFcmAnswer(Answer(429, FcmErrorBody("QUOTA_EXCEEDED", quota("device:abc"))), kNow).only_this_recipient);
  EXPECT_FALSE(
      ClassifyFcmAnswer(Answer(429, FcmErrorBody("QUOTA_EXCEEDED", quota("projects/p"))), kNow).only_this_recipient);
}

TEST(ClassifyFcmAnswer, WithoutFcmsOwnCodeTheStatusDecides) {
  EXPECT_EQ(ClassifyFcmAnswer(Answer(401, R"({"error":{"status":"UNAUTHENTICATED"}})"), kNow).outcome, kBadSender);
  EXPECT_EQ(ClassifyFcmAnswer(Answer(403, R"({"error":{"status":"PERMISSION_DENIED"}})"), kNow).outcome, kBadSender);
  // A project that is not there is no device that is gone.
  EXPECT_EQ(ClassifyFcmAnswer(Answer(404, R"({"error":{"status":"NOT_FOUND"}})"), kNow).outcome, kPermanent);
  EXPECT_EQ(ClassifyFcmAnswer(Answer(502, "<html>"), kNow).outcome, kRetryable);
  EXPECT_EQ(ClassifyFcmAnswer(Answer(400, R"({"error":{"details":"odd"}})"), kNow).outcome, kPermanent);
}

TEST(FcmBody, HasNotificationDataAndAndroid) {
  ProviderMessage message = MakeMessage();
  message.address = "token";
  message.urgent = true;
  message.collapse_id = "like:9";
  message.expire_time = kNow + absl::Seconds(90);
  EXPECT_EQ(json::parse(FcmBody(message, kNow)), json::parse(R"({"message": {
    "token": "token",
    "notification": {"title": "Receipt", "body": "You paid 12.50"},
    "data": {"notification_id": "0190163d-8694-739b-aea5-966c26f8ad91", "type": "payment.receipt",
             "action_link": "https://shop.example/orders/9", "object_id": "order-9", "actor_id": "bob"},
    "android": {"priority": "HIGH", "ttl": "90s", "collapse_key": "like:9", "notification": {"tag": "like:9"}}}})"));
}

TEST(FcmBody, IsShortenedBetweenCharacters) {
  ProviderMessage message = LargePush();
  message.address = "token";
  const std::string body = FcmBody(message, kNow);
  EXPECT_LE(body.size(), 4096u);
  EXPECT_GT(body.size(), 4090u);
  EXPECT_EQ(json::parse(body)["message"]["notification"]["body"].get<std::string>().size() % 4, 0u);
}

}  // namespace
}  // namespace carillon
