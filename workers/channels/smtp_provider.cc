#include "workers/channels/smtp_provider.h"

#include <cctype>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

constexpr int kSubmissionPort = 587;
constexpr int kSubmissionsPort = 465;
constexpr int kSmtpPort = 25;

constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;

// class.subject.detail (RFC 3463) at the beginning of a reply's text, or empty.
absl::string_view EnhancedCode(absl::string_view text) {
  const absl::string_view first = text.substr(0, text.find(' '));
  const std::vector<absl::string_view> parts = absl::StrSplit(first, '.');
  const auto is_number = [](absl::string_view part) {
    return !part.empty() && part.size() <= 3 && std::all_of(part.begin(), part.end(), absl::ascii_isdigit);
  };
  return parts.size() == 3 && std::all_of(parts.begin(), parts.end(), is_number) ? first : absl::string_view();
}

// The mailbox is not there, or is no mailbox (RFC 3463, 3.2).
bool IsUnknownAddress(absl::string_view enhanced) {
  return enhanced == "5.1.1" || enhanced == "5.1.2" || enhanced == "5.1.3" || enhanced == "5.1.6" ||
         enhanced == "5.1.10";
}

bool IsAuthenticationRequired(int code) { return code == 530 || code == 534 || code == 535 || code == 538; }

// 5yz to RCPT.
void ClassifyRefusedRecipient(int code, absl::string_view enhanced, SendResult* result) {
  if (IsUnknownAddress(enhanced)) {
    result->outcome = kPermanent;
    result->suppress_reason = "the mailbox does not exist";
  } else if (code == 552 && (enhanced.empty() || enhanced == "5.2.2")) {
    // Full; old servers say so with a permanent code.
    result->outcome = kRetryable;
    result->only_this_recipient = true;
  } else {
    result->outcome = kPermanent;
    result->may_try_next = true;
  }
}

void ClassifyRefusal(const MailResult& answer, absl::string_view enhanced, SendResult* result) {
  if (answer.code / 100 == 4) {
    result->outcome = kRetryable;
    // 421: the server itself is closing.
    result->only_this_recipient = answer.stage == MailStage::kRcpt && answer.code != 421;
  } else if (answer.stage < MailStage::kRcpt || IsAuthenticationRequired(answer.code)) {
    result->outcome = kBadSender;
  } else if (answer.stage == MailStage::kRcpt) {
    ClassifyRefusedRecipient(answer.code, enhanced, result);
  } else {
    // The mail itself is not liked; another server may think otherwise.
    result->outcome = kPermanent;
    result->may_try_next = true;
  }
}

int PortOf(const v1::SmtpSettings& settings) {
  if (settings.port() != 0) return settings.port();
  if (settings.security() == v1::SMTP_SECURITY_NONE) return kSmtpPort;
  return settings.security() == v1::SMTP_SECURITY_TLS ? kSubmissionsPort : kSubmissionPort;
}

}  // namespace

SendResult ClassifySmtpAnswer(const MailResult& answer) {
  if (answer.end != CallEnd::kAnswered) {
    SendResult result = ResultOfUnanswered(answer.end, answer.forbidden_address, answer.error);
    // Nothing that the server offers fits the credentials.
    if (answer.end == CallEnd::kNotSent && answer.stage == MailStage::kAuth) result.outcome = kBadSender;
    return result;
  }
  const absl::string_view enhanced = EnhancedCode(answer.text);
  const std::string code = enhanced.empty() ? absl::StrCat(answer.code) : absl::StrCat(answer.code, " ", enhanced);
  if (answer.code / 100 == 2) return MakeResult(AttemptOutcome::kAccepted, code, "");
  SendResult result = MakeResult(kRetryable, code, absl::StrCat(answer.code, " ", answer.text));
  ClassifyRefusal(answer, enhanced, &result);
  return result;
}

SmtpProvider::SmtpProvider(HttpProvider::Deps deps, const v1::SmtpSettings& settings)
    : deps_(std::move(deps)),
      settings_(settings),
      sender_{.address = settings.from_address(), .name = settings.from_name()} {}

void SmtpProvider::Send(const ProviderMessage& message, absl::Duration timeout, std::function<void(SendResult)> done) {
  absl::StatusOr<std::string> mail = WriteMail(message, sender_);
  if (!mail.ok()) {
    done(MakeResult(kPermanent, "invalid_header", mail.status().message()));
    return;
  }
  MailRequest request{
      .host = settings_.host(),
      .port = PortOf(settings_),
      .security = settings_.security(),
      .username = settings_.username(),
      .password = settings_.password(),
      .from = sender_.address,
      .to = message.address,
      .message = *std::move(mail),
      .options = {
          .timeout = timeout, .ca_pem = deps_.ca_pem, .forbid_private_addresses = deps_.forbid_private_addresses}};
  if (request.security == v1::SMTP_SECURITY_UNSPECIFIED) request.security = v1::SMTP_SECURITY_STARTTLS;
  std::string id = MessageIdOf(message, sender_);
  deps_.transport->Send(std::move(request), [done = std::move(done), address = message.address,
                                             id = id.substr(1, id.size() - 2)](const MailResult& answer) {
    SendResult result = ClassifySmtpAnswer(answer);
    result.error = WithoutAddress(result.error, address);
    result.latency = answer.latency;
    // What bounces will quote.
    if (result.outcome == AttemptOutcome::kAccepted) result.provider_message_id = id;
    done(std::move(result));
  });
}

}  // namespace carillon
