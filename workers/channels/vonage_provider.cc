#include "workers/channels/vonage_provider.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "carillon/channels/sms_segments.h"
#include "workers/channels/form.h"
#include "workers/channels/json_text.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

constexpr absl::string_view kDefaultEndpoint = "https://rest.nexmo.com";
// What ttl takes.
constexpr absl::Duration kMinTtl = absl::Seconds(20);
constexpr absl::Duration kMaxTtl = absl::Hours(24 * 7);

// Of a status in the answer.
struct Meaning {
  int status;
  AttemptOutcome outcome;
  bool may_try_next;
  const char* suppress_reason;
};

constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;

constexpr Meaning kMeanings[] = {
    {1, kRetryable, false, ""},   // Throttled.
    {2, kPermanent, true, ""},    // A parameter is missing,
    {3, kPermanent, true, ""},    // or not valid.
    {4, kBadSender, false, ""},   // Credentials.
    {5, kRetryable, false, ""},   // Internal error.
    {6, kPermanent, true, ""},    // The message can't be processed.
    {7, kPermanent, true, ""},    // The number is barred.
    {8, kBadSender, false, ""},   // The account is barred.
    {9, kBadSender, false, ""},   // No credit.
    {10, kRetryable, false, ""},  // Too many connections.
    {11, kBadSender, false, ""},  // The account may not use this API.
    {12, kPermanent, true, ""},   // Too long.
    {14, kBadSender, false, ""},  // Signature.
    {15, kBadSender, false, ""},  // The sender is not allowed.
    {22, kPermanent, true, ""},   // No such network.
    {23, kPermanent, true, ""},   // The callback's URL.
    {29, kPermanent, true, ""},   // Not white-listed, of trial accounts.
    {32, kBadSender, false, ""},  // Signature and secret at once.
    {33, kPermanent, false, "the number is deactivated"},
};

AttemptOutcome OutcomeOfHttp(int status) {
  if (status == 401 || status == 403) return kBadSender;
  return status == 429 || status == 408 || status / 100 == 5 ? kRetryable : kPermanent;
}

// A long text goes as several messages: the first that failed decides.
const nlohmann::json* DecisivePart(const nlohmann::json& json) {
  if (!json.is_object() || !json.contains("messages") || !json["messages"].is_array() || json["messages"].empty()) {
    return nullptr;
  }
  const nlohmann::json& parts = json["messages"];
  const auto failed = std::find_if(parts.begin(), parts.end(),
                                   [](const nlohmann::json& part) { return TextAt(part, "/status") != "0"; });
  return failed == parts.end() ? &parts.front() : &*failed;
}

}  // namespace

std::string VonageBody(const v1::VonageSettings& settings, const ProviderMessage& message, absl::Time now) {
  FormWriter form;
  form.Add("api_key", settings.api_key()).Add("api_secret", settings.api_secret()).Add("from", settings.from());
  form.Add("to", absl::StripPrefix(message.address, "+")).Add("text", message.content.text());
  // Else what is not in GSM 03.38 becomes question marks.
  if (CountSmsSegments(message.content.text()).encoding() != "GSM-7") form.Add("type", "unicode");
  form.Add("client-ref", message.delivery_id.ToString());
  if (!message.receipt_url.empty()) form.Add("callback", message.receipt_url);
  if (message.expire_time.has_value()) {
    const absl::Duration ttl = std::clamp(*message.expire_time - now, kMinTtl, kMaxTtl);
    form.Add("ttl", absl::StrCat(absl::ToInt64Milliseconds(ttl)));
  }
  return std::move(form).Take();
}

SendResult ClassifyVonageAnswer(const HttpResult& answer, absl::Time now) {
  const nlohmann::json json = ReadJson(answer.body);
  const nlohmann::json* const part = DecisivePart(json);
  if (part == nullptr) {
    // An answer of success that can't be read: it may have been one.
    const bool unclear = answer.status / 100 == 2;
    SendResult result = MakeResult(unclear ? AttemptOutcome::kUnconfirmed : OutcomeOfHttp(answer.status),
                                   absl::StrCat(answer.status), answer.body);
    if (result.outcome == kRetryable) result.retry_after = RetryAfter(answer, now);
    return result;
  }
  const std::string code = TextAt(*part, "/status");
  if (code == "0") {
    SendResult result = MakeResult(AttemptOutcome::kAccepted, code, "");
    result.provider_message_id = TextAt(*part, "/message-id");
    return result;
  }
  int status = 0;
  const Meaning* meaning = std::end(kMeanings);
  if (absl::SimpleAtoi(code, &status)) {
    meaning = std::find_if(std::begin(kMeanings), std::end(kMeanings),
                           [status](const Meaning& one) { return one.status == status; });
  }
  SendResult result = MakeResult(kPermanent, code, TextAt(*part, "/error-text"));
  result.may_try_next = true;
  if (meaning != std::end(kMeanings)) {
    result.outcome = meaning->outcome;
    result.may_try_next = meaning->may_try_next;
    result.suppress_reason = meaning->suppress_reason;
  }
  if (result.outcome == kRetryable) result.retry_after = RetryAfter(answer, now);
  return result;
}

VonageProvider::VonageProvider(Deps deps, const v1::VonageSettings& settings)
    : HttpProvider(std::move(deps)),
      settings_(settings),
      url_(absl::StrCat(settings.endpoint().empty() ? kDefaultEndpoint : settings.endpoint(), "/sms/json")) {}

HttpProvider::Built VonageProvider::Build(const ProviderMessage& message, absl::Time now) const {
  return HttpRequest{
      .url = url_, .headers = {{"content-type", std::string(kFormType)}}, .body = VonageBody(settings_, message, now)};
}

}  // namespace carillon
