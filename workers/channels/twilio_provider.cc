#include "workers/channels/twilio_provider.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "workers/channels/form.h"
#include "workers/channels/json_text.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

constexpr absl::string_view kDefaultEndpoint = "https://api.twilio.com";
// What ValidityPeriod takes, in seconds.
constexpr int64_t kMaxValidity = 36'000;
// The newest to one number: what an attempt some seconds ago has made is among them.
constexpr int kLookupMessages = 20;

// What an error code means, where that differs from what its HTTP status does.
struct Meaning {
  int code;
  AttemptOutcome outcome;
  bool may_try_next;
  bool only_this_recipient;
  const char* suppress_reason;
};

constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;

constexpr Meaning kMeanings[] = {
    {20003, kBadSender, false, false, ""},                         // Authentication.
    {20404, kBadSender, false, false, ""},                         // No such account.
    {20429, kRetryable, false, false, ""},                         // Too many requests.
    {21211, kPermanent, false, false, "the number is not valid"},  //
    {21408, kPermanent, true, false, ""},                          // The account may not send to that country.
    {21606, kBadSender, false, false, ""},                         // From can't send SMS.
    {21608, kPermanent, true, false, ""},                          // Not verified, of trial accounts.
    {21609, kBadSender, false, false, ""},                         // StatusCallback: our public URL.
    {21610, kPermanent, false, false, "the recipient opted out"},  //
    {21612, kPermanent, true, false, ""},                          // No route from From to To.
    {21614, kPermanent, false, false, "the number takes no SMS"},  //
    {30001, kRetryable, false, false, ""},                         // Queue overflow.
    {30002, kBadSender, false, false, ""},                         // Account suspended.
    {30003, kRetryable, false, true, ""},                          // The handset is off.
    {30004, kPermanent, true, false, ""},                          // Blocked.
    {30005, kPermanent, true, false, ""},                          // Unknown handset.
    {30006, kPermanent, true, false, ""},                          // Landline, or unreachable carrier.
    {30007, kPermanent, true, false, ""},                          // The carrier's filter.
    {30008, kRetryable, false, true, ""},                          // Unknown.
    {30036, kPermanent, false, false, ""},                         // The validity period has passed.
};

AttemptOutcome OutcomeOfStatus(int status) {
  if (status / 100 == 2) return AttemptOutcome::kAccepted;
  if (status == 401 || status == 403) return kBadSender;
  return status == 429 || status == 408 || status / 100 == 5 ? kRetryable : kPermanent;
}

}  // namespace

std::string TwilioBody(const v1::TwilioSettings& settings, const ProviderMessage& message, absl::Time now) {
  FormWriter form;
  form.Add("To", message.address).Add("Body", message.content.text());
  if (settings.messaging_service_sid().empty()) {
    form.Add("From", settings.from());
  } else {
    form.Add("MessagingServiceSid", settings.messaging_service_sid());
  }
  if (!message.receipt_url.empty()) form.Add("StatusCallback", message.receipt_url);
  if (message.expire_time.has_value()) {
    const int64_t seconds = absl::ToInt64Seconds(*message.expire_time - now);
    if (seconds < kMaxValidity) form.Add("ValidityPeriod", absl::StrCat(std::max<int64_t>(1, seconds)));
  }
  return std::move(form).Take();
}

std::optional<SendResult> FindInTwilioList(const HttpResult& answer, const ProviderMessage& message) {
  const nlohmann::json json = ReadJson(answer.body);
  const auto messages = json.find("messages");
  if (messages == json.end() || !messages->is_array()) return std::nullopt;
  for (const nlohmann::json& one : *messages) {
    absl::Time created;
    std::string ignored;
    const bool is_dated = absl::ParseTime("%a, %d %b %Y %H:%M:%S %z", TextAt(one, "/date_created"), &created, &ignored);
    // Whole seconds: the first one counts too.
    if (!is_dated || created < message.create_time - absl::Seconds(1)) continue;
    if (TextAt(one, "/to") != message.address || TextAt(one, "/body") != message.content.text()) continue;
    const std::string status = TextAt(one, "/status");
    if (status == "failed" || status == "undelivered" || status == "canceled") continue;
    SendResult result = MakeResult(AttemptOutcome::kAccepted, "found", "it had been accepted before");
    result.provider_message_id = TextAt(one, "/sid");
    return result;
  }
  return std::nullopt;
}

SendResult ClassifyTwilioAnswer(const HttpResult& answer, absl::Time now) {
  const nlohmann::json json = ReadJson(answer.body);
  if (answer.status / 100 == 2) {
    SendResult result = MakeResult(AttemptOutcome::kAccepted, absl::StrCat(answer.status), "");
    result.provider_message_id = TextAt(json, "/sid");
    return result;
  }
  const std::string code = TextAt(json, "/code");
  const std::string words = TextAt(json, "/message");
  SendResult result =
      MakeResult(OutcomeOfStatus(answer.status), code.empty() ? absl::StrCat(answer.status) : code, words);
  int number = 0;
  const Meaning* meaning = std::end(kMeanings);
  if (absl::SimpleAtoi(code, &number)) {
    meaning = std::find_if(std::begin(kMeanings), std::end(kMeanings),
                           [number](const Meaning& one) { return one.code == number; });
  }
  if (meaning != std::end(kMeanings)) {
    result.outcome = meaning->outcome;
    result.may_try_next = meaning->may_try_next;
    result.only_this_recipient = meaning->only_this_recipient;
    result.suppress_reason = meaning->suppress_reason;
  }
  if (result.outcome == kRetryable) result.retry_after = RetryAfter(answer, now);
  return result;
}

TwilioProvider::TwilioProvider(Deps deps, const v1::TwilioSettings& settings)
    : HttpProvider(std::move(deps)),
      settings_(settings),
      url_(absl::StrCat(settings.endpoint().empty() ? kDefaultEndpoint : settings.endpoint(), "/2010-04-01/Accounts/",
                        settings.account_sid(), "/Messages.json")),
      authorization_(absl::StrCat(
          "Basic ",
          absl::Base64Escape(absl::StrCat(settings.username().empty() ? settings.account_sid() : settings.username(),
                                          ":", settings.password())))) {}

std::optional<HttpRequest> TwilioProvider::BuildLookup(const ProviderMessage& message) const {
  FormWriter query;
  query.Add("To", message.address).Add("PageSize", absl::StrCat(kLookupMessages));
  return HttpRequest{.url = absl::StrCat(url_, "?", std::move(query).Take()),
                     .headers = {{"authorization", authorization_}},
                     .body = {}};
}

HttpProvider::Built TwilioProvider::Build(const ProviderMessage& message, absl::Time now) const {
  return HttpRequest{.url = url_,
                     .headers = {{"content-type", std::string(kFormType)}, {"authorization", authorization_}},
                     .body = TwilioBody(settings_, message, now)};
}

}  // namespace carillon
