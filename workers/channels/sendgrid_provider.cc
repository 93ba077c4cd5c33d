#include "workers/channels/sendgrid_provider.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "workers/channels/json_text.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

constexpr absl::string_view kDefaultEndpoint = "https://api.sendgrid.com";
constexpr absl::Duration kMaxWait = absl::Hours(24);

Json Mailbox(const std::string& address, const std::string& name) {
  Json mailbox = {{"email", address}};
  if (!name.empty()) mailbox["name"] = name;
  return mailbox;
}

Json HeadersOf(const MailSender& sender, const ProviderMessage& message) {
  Json headers = {{"Message-ID", MessageIdOf(message, sender)},
                  {"Auto-Submitted", "auto-generated"},
                  {"X-Carillon-Id", message.notification_id.ToString()}};
  if (!message.unsubscribe_url.empty()) {
    headers["List-Unsubscribe"] = absl::StrCat("<", message.unsubscribe_url, ">");
    headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click";
  }
  return headers;
}

AttemptOutcome OutcomeOf(int status) {
  if (status / 100 == 2) return AttemptOutcome::kAccepted;
  if (status == 401 || status == 403) return AttemptOutcome::kBadSender;
  return status == 429 || status == 408 || status / 100 == 5 ? AttemptOutcome::kRetryable : AttemptOutcome::kPermanent;
}

// When the limit is lifted: a moment of its own, or as everybody says it.
std::optional<absl::Duration> WaitOf(const HttpResult& answer, absl::Time now) {
  int64_t reset = 0;
  if (answer.status != 429 || !absl::SimpleAtoi(HeaderOf(answer, "x-ratelimit-reset"), &reset)) {
    return RetryAfter(answer, now);
  }
  return std::clamp(absl::FromUnixSeconds(reset) - now, absl::ZeroDuration(), kMaxWait);
}

}  // namespace

std::string SendGridBody(const MailSender& sender, const ProviderMessage& message) {
  const v1::RenderedContent& content = message.content;
  Json parts = Json::array();
  // In this order (the API's rule); it wants at least one character.
  if (!content.text().empty()) parts.push_back({{"type", "text/plain"}, {"value", content.text()}});
  if (!content.html().empty()) parts.push_back({{"type", "text/html"}, {"value", content.html()}});
  if (parts.empty()) parts.push_back({{"type", "text/plain"}, {"value", " "}});
  Json json = {{"personalizations", {{{"to", Json::array({Mailbox(message.address, "")})}}}},
               {"from", Mailbox(sender.address, sender.name)},
               {"subject", content.subject()},
               {"content", std::move(parts)},
               {"headers", HeadersOf(sender, message)}};
  if (!message.reply_to.empty()) json["reply_to"] = Mailbox(message.reply_to, "");
  if (!message.receipt_token.empty()) json["custom_args"] = {{"carillon", message.receipt_token}};
  return WriteJson(json);
}

SendResult ClassifySendGridAnswer(const HttpResult& answer, absl::Time now) {
  const std::string code = absl::StrCat(answer.status);
  if (answer.status / 100 == 2) {
    SendResult result = MakeResult(AttemptOutcome::kAccepted, code, "");
    result.provider_message_id = std::string(HeaderOf(answer, "x-message-id"));
    return result;
  }
  const Json json = ReadJson(answer.body);
  std::string words = TextAt(json, "/errors/0/message");
  if (const std::string field = TextAt(json, "/errors/0/field"); !field.empty())
    words = absl::StrCat(field, ": ", words);
  SendResult result = MakeResult(OutcomeOf(answer.status), code, words.empty() ? answer.body : words);
  if (result.outcome == AttemptOutcome::kRetryable) result.retry_after = WaitOf(answer, now);
  return result;
}

SendGridProvider::SendGridProvider(Deps deps, const v1::SendGridSettings& settings)
    : HttpProvider(std::move(deps)),
      sender_{.address = settings.from_address(), .name = settings.from_name()},
      url_(absl::StrCat(settings.endpoint().empty() ? kDefaultEndpoint : settings.endpoint(), "/v3/mail/send")),
      authorization_(absl::StrCat("Bearer ", settings.api_key())) {}

HttpProvider::Built SendGridProvider::Build(const ProviderMessage& message, absl::Time) const {
  if (const absl::Status status = CheckMailHeaders(message, sender_); !status.ok()) {
    return MakeResult(AttemptOutcome::kPermanent, "invalid_header", status.message());
  }
  return HttpRequest{.url = url_,
                     .headers = {{"content-type", "application/json"}, {"authorization", authorization_}},
                     .body = SendGridBody(sender_, message)};
}

}  // namespace carillon
