#include "workers/channels/apns_provider.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "workers/channels/account_digest.h"
#include "workers/channels/json_text.h"
#include "workers/channels/jwt_signer.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

constexpr absl::string_view kEndpoint = "https://api.push.apple.com";
constexpr absl::string_view kSandboxEndpoint = "https://api.sandbox.push.apple.com";
// APNs refuses tokens older than an hour, and keys that make new ones within 20 minutes.
constexpr absl::Duration kTokenLife = absl::Minutes(50);
constexpr absl::Duration kMinTokenAge = absl::Minutes(20);
constexpr absl::Duration kTokenUpdatePause = absl::Minutes(1);
constexpr size_t kMaxPayloadBytes = 4096;
constexpr size_t kMaxDeviceTokenBytes = 200;
constexpr size_t kMaxCollapseIdBytes = 64;

constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadRecipient = AttemptOutcome::kBadRecipient;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;

// Reasons that mean something else than their HTTP status does.
constexpr std::pair<absl::string_view, AttemptOutcome> kReasons[] = {
    {"BadDeviceToken", kBadRecipient},
    {"IdleTimeout", kRetryable},
};

AttemptOutcome OutcomeOf(int status, absl::string_view reason) {
  for (const auto& [name, outcome] : kReasons) {
    if (reason == name) return outcome;
  }
  switch (status) {
    case 403:
      return kBadSender;
    case 410:
      return kBadRecipient;
    case 429:
      return kRetryable;
    default:
      return status / 100 == 5 ? kRetryable : kPermanent;
  }
}

Json PayloadOf(const ProviderMessage& message) {
  const v1::RenderedContent& content = message.content;
  Json alert = {{"body", content.body()}};
  if (!content.title().empty()) alert["title"] = content.title();
  Json payload = {{"aps", {{"alert", std::move(alert)}, {"sound", message.sound.empty() ? "default" : message.sound}}},
                  {"notification_id", message.notification_id.ToString()},
                  {"type", message.type}};
  if (!content.action_link().empty()) payload["action_link"] = content.action_link();
  if (!content.image_url().empty()) {
    payload["image_url"] = content.image_url();
    // Lets the app fetch it before the notification is shown.
    payload["aps"]["mutable-content"] = 1;
  }
  return payload;
}

// Shortens the body by what is too much. Escaped characters may take more off than
// they need to.
std::string WriteShortened(Json& payload) {
  std::string text = WriteJson(payload);
  if (text.size() <= kMaxPayloadBytes) return text;
  Json& body = payload["aps"]["alert"]["body"];
  const std::string whole = body.get<std::string>();
  const size_t excess = text.size() - kMaxPayloadBytes;
  body = whole.substr(0, Utf8PrefixBytes(whole, whole.size() - std::min(whole.size(), excess)));
  return WriteJson(payload);
}

bool IsDeviceToken(absl::string_view token) {
  return !token.empty() && token.size() <= kMaxDeviceTokenBytes &&
         std::all_of(token.begin(), token.end(), absl::ascii_isxdigit);
}

std::unique_ptr<TokenSource> MakeTokens(AppId app, TokenStore* store, Executor* executor, const Clock* clock,
                                        const v1::ApnsSettings& settings) {
  auto mint = [settings](absl::Time now, TokenSource::Done done) {
    const Json claims = {{"iss", settings.team_id()}, {"iat", absl::ToUnixSeconds(now)}};
    absl::StatusOr<std::string> token =
        SignJwt(JwtAlgorithm::kEs256, settings.private_key_pem(), settings.key_id(), WriteJson(claims));
    if (!token.ok()) return done(absl::InvalidArgumentError(token.status().message()));
    done(SharedToken{.token = *std::move(token), .mint_time = now, .expire_time = now + kTokenLife});
  };
  return std::make_unique<TokenSource>(
      store, executor, clock,
      TokenSource::Options{
          .app = app,
          .token_key = AccountDigest("apns", {settings.team_id(), settings.key_id(), settings.private_key_pem()}),
          .min_age = kMinTokenAge,
          .mint = std::move(mint)});
}

absl::string_view EndpointOf(const v1::ApnsSettings& settings) {
  if (!settings.endpoint().empty()) return settings.endpoint();
  return settings.sandbox() ? kSandboxEndpoint : kEndpoint;
}

}  // namespace

std::string ApnsPayload(const ProviderMessage& message) {
  Json payload = PayloadOf(message);
  std::string text = WriteShortened(payload);
  if (text.size() <= kMaxPayloadBytes) return text;
  ProviderMessage without_image = message;
  without_image.content.clear_image_url();
  payload = PayloadOf(without_image);
  text = WriteShortened(payload);
  return text.size() <= kMaxPayloadBytes ? text : "";
}

SendResult ClassifyApnsAnswer(const HttpResult& answer, absl::Time now) {
  if (answer.status == 200) {
    SendResult result = MakeResult(AttemptOutcome::kAccepted, "200", "");
    result.provider_message_id = std::string(HeaderOf(answer, "apns-id"));
    return result;
  }
  const Json json = ReadJson(answer.body);
  const std::string reason = TextAt(json, "/reason");
  SendResult result =
      MakeResult(OutcomeOf(answer.status, reason), reason.empty() ? absl::StrCat(answer.status) : reason,
                 absl::StrCat("APNs: ", answer.status, " ", reason));
  if (result.outcome == kRetryable) result.retry_after = RetryAfter(answer, now);
  if (reason == "TooManyProviderTokenUpdates" && !result.retry_after.has_value())
    result.retry_after = kTokenUpdatePause;
  result.only_this_recipient = reason == "TooManyRequests";
  if (result.outcome == kBadRecipient) {
    int64_t milliseconds = 0;
    const bool told = absl::SimpleAtoi(TextAt(json, "/timestamp"), &milliseconds) && milliseconds > 0;
    result.device_dead_since = told ? absl::FromUnixMillis(milliseconds) : now;
  }
  return result;
}

ApnsProvider::ApnsProvider(Deps deps, AppId app, TokenStore* store, Executor* executor,
                           const v1::ApnsSettings& settings)
    : HttpProvider(deps, MakeTokens(app, store, executor, deps.clock, settings)),
      url_(absl::StrCat(EndpointOf(settings), "/3/device/")),
      topic_(settings.topic()) {}

HttpProvider::Built ApnsProvider::Build(const ProviderMessage& message, absl::Time now) const {
  if (!IsDeviceToken(message.address)) {
    SendResult result = MakeResult(kBadRecipient, "BadDeviceToken", "the device token is not hexadecimal");
    result.device_dead_since = now;
    return result;
  }
  HttpRequest request{.url = absl::StrCat(url_, message.address), .body = ApnsPayload(message), .http2 = true};
  if (request.body.empty()) return MakeResult(kPermanent, "too_large", "the payload has more than 4096 bytes");
  if (message.collapse_id.size() > kMaxCollapseIdBytes || !IsSafeHeaderText(message.collapse_id)) {
    return MakeResult(kPermanent, "invalid_header", "collapse_id must be at most 64 bytes without control characters");
  }
  // Priority 10: an alert is for somebody to see, so it goes out at once; whether it is
  // urgent makes no difference.
  request.headers = {{"apns-topic", topic_},
                     {"apns-push-type", "alert"},
                     {"apns-priority", "10"},
                     {"apns-id", message.delivery_id.ToString()}};
  if (!message.collapse_id.empty()) request.headers.emplace_back("apns-collapse-id", message.collapse_id);
  if (message.expire_time.has_value()) {
    request.headers.emplace_back("apns-expiration", absl::StrCat(absl::ToUnixSeconds(*message.expire_time)));
  }
  return request;
}

SendResult ApnsProvider::Classify(const HttpResult& answer, absl::Time now) {
  SendResult result = ClassifyApnsAnswer(answer, now);
  const bool refused = result.code == "BadDeviceToken" || result.code == "DeviceTokenNotForTopic";
  refusals_.Judge(refused, "look at sandbox and topic", result);
  return result;
}

bool ApnsProvider::RefusesToken(const HttpResult& answer) const {
  return answer.status == 403 && TextAt(ReadJson(answer.body), "/reason") == "ExpiredProviderToken";
}

}  // namespace carillon
