#include "workers/channels/fcm_provider.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "workers/channels/json_text.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

constexpr absl::string_view kDefaultEndpoint = "https://fcm.googleapis.com";
constexpr size_t kMaxBodyBytes = 4096;
constexpr absl::Duration kMaxTtl = absl::Hours(24 * 28);

constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadRecipient = AttemptOutcome::kBadRecipient;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;

constexpr std::pair<absl::string_view, AttemptOutcome> kCodes[] = {
    {"UNREGISTERED", kBadRecipient},   {"SENDER_ID_MISMATCH", kBadRecipient},
    {"QUOTA_EXCEEDED", kRetryable},    {"UNAVAILABLE", kRetryable},
    {"INTERNAL", kRetryable},          {"THIRD_PARTY_AUTH_ERROR", kBadSender},
    {"UNSPECIFIED_ERROR", kPermanent},
};

// An answer's error, read.
struct FcmError {
  std::string code;           // FCM's own; empty: only Google's status was given.
  bool blames_token = false;  // A field violation of message.token.
  bool per_device = false;    // The quota is that of the device.
};

FcmError ReadError(const Json& json) {
  FcmError error;
  const Json::json_pointer path("/error/details");
  if (!json.is_object() || !json.contains(path) || !json.at(path).is_array()) return error;
  for (const Json& detail : json.at(path)) {
    const std::string type = TextAt(detail, "/@type");
    if (absl::EndsWith(type, "google.firebase.fcm.v1.FcmError")) error.code = TextAt(detail, "/errorCode");
    // Each says what is wrong in a list of its own.
    for (const char* list : {"fieldViolations", "violations"}) {
      if (!detail.is_object() || !detail.contains(list) || !detail[list].is_array()) continue;
      for (const Json& violation : detail[list]) {
        error.blames_token = error.blames_token || TextAt(violation, "/field") == "message.token";
        error.per_device = error.per_device || absl::StrContains(TextAt(violation, "/subject"), "device");
      }
    }
  }
  return error;
}

AttemptOutcome OutcomeOf(int status, const FcmError& error) {
  for (const auto& [code, outcome] : kCodes) {
    if (error.code == code) return outcome;
  }
  if (status == 400) return error.blames_token ? kBadRecipient : kPermanent;
  if (status == 401 || status == 403) return kBadSender;
  return status == 429 || status == 408 || status / 100 == 5 ? kRetryable : kPermanent;
}

Json AndroidOf(const ProviderMessage& message, absl::Time now) {
  Json android = {{"priority", message.urgent ? "HIGH" : "NORMAL"}};
  if (message.expire_time.has_value()) {
    const absl::Duration ttl = std::clamp(*message.expire_time - now, absl::ZeroDuration(), kMaxTtl);
    android["ttl"] = absl::StrCat(absl::ToInt64Seconds(ttl), "s");
  }
  if (!message.collapse_id.empty()) {
    android["collapse_key"] = message.collapse_id;
    // Replaces what is shown, too.
    android["notification"]["tag"] = message.collapse_id;
  }
  if (!message.sound.empty()) android["notification"]["sound"] = message.sound;
  return android;
}

Json BodyOf(const ProviderMessage& message, absl::Time now) {
  const v1::RenderedContent& content = message.content;
  Json notification = {{"body", content.body()}};
  if (!content.title().empty()) notification["title"] = content.title();
  if (!content.image_url().empty()) notification["image"] = content.image_url();
  Json data = {{"notification_id", message.notification_id.ToString()}, {"type", message.type}};
  if (!content.action_link().empty()) data["action_link"] = content.action_link();
  if (!message.object_id.empty()) data["object_id"] = message.object_id;
  if (!message.actor_id.empty()) data["actor_id"] = message.actor_id;
  return {{"message",
           {{"token", message.address},
            {"notification", std::move(notification)},
            {"data", std::move(data)},
            {"android", AndroidOf(message, now)}}}};
}

std::string WriteShortened(Json json) {
  std::string text = WriteJson(json);
  if (text.size() <= kMaxBodyBytes) return text;
  Json& body = json["message"]["notification"]["body"];
  const std::string whole = body.get<std::string>();
  const size_t excess = text.size() - kMaxBodyBytes;
  body = whole.substr(0, Utf8PrefixBytes(whole, whole.size() - std::min(whole.size(), excess)));
  return WriteJson(json);
}

}  // namespace

std::string FcmBody(const ProviderMessage& message, absl::Time now) {
  std::string text = WriteShortened(BodyOf(message, now));
  if (text.size() <= kMaxBodyBytes) return text;
  ProviderMessage without_image = message;
  without_image.content.clear_image_url();
  text = WriteShortened(BodyOf(without_image, now));
  return text.size() <= kMaxBodyBytes ? text : "";
}

SendResult ClassifyFcmAnswer(const HttpResult& answer, absl::Time now) {
  const Json json = ReadJson(answer.body);
  if (answer.status / 100 == 2) {
    SendResult result = MakeResult(AttemptOutcome::kAccepted, absl::StrCat(answer.status), "");
    result.provider_message_id = TextAt(json, "/name");
    return result;
  }
  const FcmError error = ReadError(json);
  const std::string status = TextAt(json, "/error/status");
  const std::string code = !error.code.empty() ? error.code : !status.empty() ? status : absl::StrCat(answer.status);
  const std::string words = TextAt(json, "/error/message");
  SendResult result = MakeResult(OutcomeOf(answer.status, error), code, words);
  if (result.outcome == kRetryable) {
    result.retry_after = RetryAfter(answer, now);
    result.only_this_recipient = answer.status == 429 && error.per_device;
  }
  if (result.outcome == kBadRecipient) result.device_dead_since = now;
  return result;
}

FcmProvider::FcmProvider(Deps deps, const Deps& token_deps, AppId app, TokenStore* store, Executor* executor,
                         const FcmAccount& account, absl::string_view endpoint)
    : HttpProvider(std::move(deps), MakeFcmTokens(token_deps, app, store, executor, account)),
      url_(absl::StrCat(endpoint.empty() ? kDefaultEndpoint : endpoint, "/v1/projects/", account.project_id,
                        "/messages:send")) {}

HttpProvider::Built FcmProvider::Build(const ProviderMessage& message, absl::Time now) const {
  HttpRequest request{.url = url_,
                      .headers = {{"content-type", "application/json"}},
                      .body = FcmBody(message, now),
                      .http2 = absl::StartsWith(url_, "https:")};
  if (request.body.empty()) return MakeResult(kPermanent, "too_large", "the message has more than 4096 bytes");
  return request;
}

SendResult FcmProvider::Classify(const HttpResult& answer, absl::Time now) {
  SendResult result = ClassifyFcmAnswer(answer, now);
  refusals_.Judge(result.code == "SENDER_ID_MISMATCH", "look at the service account's project", result);
  return result;
}

bool FcmProvider::RefusesToken(const HttpResult& answer) const {
  return answer.status == 401 && ReadError(ReadJson(answer.body)).code != "THIRD_PARTY_AUTH_ERROR";
}

}  // namespace carillon
