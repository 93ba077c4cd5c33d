#include "workers/channels/webhook_provider.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "workers/channels/json_text.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

constexpr size_t kMinKeyBytes = 24;
constexpr size_t kMaxKeyBytes = 64;
// What receivers are told to expect.
constexpr size_t kMaxBodyBytes = 20'000;

std::string HmacSha256(const std::string& key, const std::string& text) {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), mac, &size);
  return std::string(reinterpret_cast<const char*>(mac), size);
}

Json BodyOf(const ProviderMessage& message) {
  Json data = {{"notification_id", message.notification_id.ToString()},
               {"user_id", message.recipient_id},
               {"title", message.content.title()},
               {"body", message.content.body()}};
  if (!message.actor_id.empty()) data["actor_id"] = message.actor_id;
  if (!message.object_id.empty()) data["object_id"] = message.object_id;
  if (!message.content.action_link().empty()) data["action_link"] = message.content.action_link();
  if (Json given = ReadJson(message.data_json); given.is_object()) data["data"] = std::move(given);
  return {{"type", message.type},
          {"timestamp", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", message.create_time, absl::UTCTimeZone())},
          {"data", std::move(data)}};
}

// An endpoint that is gone is as good as disabled until it is set anew.
constexpr absl::Duration kGonePause = absl::Hours(24);

AttemptOutcome OutcomeOf(int status) {
  if (status / 100 == 2) return AttemptOutcome::kAccepted;
  // Its owner took it away: nothing more goes there until it is set anew.
  if (status == 410) return AttemptOutcome::kBadSender;
  if (status == 429 || status == 408 || status / 100 == 5) return AttemptOutcome::kRetryable;
  // Redirects too: following one would take the message to wherever it says.
  return AttemptOutcome::kPermanent;
}

}  // namespace

absl::StatusOr<std::string> DecodeWebhookSecret(absl::string_view secret) {
  absl::StatusOr<std::string> key = std::string();
  const bool decoded = absl::ConsumePrefix(&secret, "whsec_") && absl::Base64Unescape(secret, &*key);
  if (!decoded || key->size() < kMinKeyBytes || key->size() > kMaxKeyBytes) {
    key = absl::InvalidArgumentError("must be whsec_ and base64 of 24 to 64 bytes");
  }
  return key;
}

std::string SignWebhook(absl::Span<const std::string> keys, absl::string_view id, int64_t timestamp,
                        absl::string_view body) {
  const std::string text = absl::StrCat(id, ".", timestamp, ".", body);
  std::string signatures;
  for (const std::string& key : keys) {
    absl::StrAppend(&signatures, signatures.empty() ? "" : " ", "v1,", absl::Base64Escape(HmacSha256(key, text)));
  }
  return signatures;
}

std::string WebhookBody(const ProviderMessage& message) {
  Json json = BodyOf(message);
  std::string body = WriteJson(json);
  if (body.size() <= kMaxBodyBytes) return body;
  const std::string& text = message.content.body();
  const size_t excess = body.size() - kMaxBodyBytes;
  json["data"]["body"] = text.substr(0, Utf8PrefixBytes(text, text.size() - std::min(text.size(), excess)));
  body = WriteJson(json);
  return body.size() <= kMaxBodyBytes ? body : "";
}

SendResult ClassifyWebhookAnswer(const HttpResult& answer, absl::Time now) {
  const AttemptOutcome outcome = OutcomeOf(answer.status);
  const std::string code = absl::StrCat(answer.status);
  if (outcome == AttemptOutcome::kAccepted) return MakeResult(outcome, code, "");
  // Its body is not kept: it may quote the message.
  SendResult result = MakeResult(outcome, code, answer.status == 410 ? "the endpoint is gone" : "");
  if (outcome == AttemptOutcome::kRetryable) result.retry_after = RetryAfter(answer, now);
  if (answer.status == 410) result.retry_after = kGonePause;
  return result;
}

HttpProvider::Built WebhookProvider::Build(const ProviderMessage& message, absl::Time now) const {
  HttpRequest request{.url = url_, .body = WebhookBody(message)};
  if (request.body.empty()) return MakeResult(AttemptOutcome::kPermanent, "too_large", "the body has more than 20 kB");
  const std::string id = message.delivery_id.ToString();
  const int64_t timestamp = absl::ToUnixSeconds(now);
  request.headers = {{"content-type", "application/json"},
                     {"webhook-id", id},
                     {"webhook-timestamp", absl::StrCat(timestamp)},
                     {"webhook-signature", SignWebhook(keys_, id, timestamp, request.body)}};
  return request;
}

}  // namespace carillon
