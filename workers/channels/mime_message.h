// Writes mails as RFC 5322 and MIME want them. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "workers/channels/provider.h"

namespace carillon {

// The addresses and names of an app's mails.
struct MailSender {
  std::string address;
  std::string name;  // Empty: none.
};

// <delivery id@domain of the sender>: the same on every attempt, so that a mail that
// is sent twice is seen as one.
std::string MessageIdOf(const ProviderMessage& message, const MailSender& sender);

// OK if nothing in the mail's addresses and headers could end a header or an address
// early. INVALID_ARGUMENT names the part.
absl::Status CheckMailHeaders(const ProviderMessage& message, const MailSender& sender);

// The whole mail: text and HTML as alternatives, or the one that there is. Lines end in
// CR LF and have at most 76 characters but for addresses and links. With an
// unsubscribe_url it can be unsubscribed from by one click (RFC 8058). Errors as
// CheckMailHeaders.
absl::StatusOr<std::string> WriteMail(const ProviderMessage& message, const MailSender& sender);

// A header's value in ASCII: as it is, or as encoded words (RFC 2047), folded.
std::string EncodeHeaderText(absl::string_view text);
// RFC 2045, 6.7. Line ends of any kind become CR LF.
std::string EncodeQuotedPrintable(absl::string_view text);

}  // namespace carillon
