#include "workers/channels/mime_message.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "carillon/domain/status_macros.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

constexpr absl::string_view kLineEnd = "\r\n";
constexpr size_t kMaxLine = 76;
// Headers that fit beside their name on a line of 78.
constexpr size_t kMaxPlainHeader = 60;
// Of an encoded word: 48 characters of base64, so that it fits beside a header's name.
constexpr size_t kWordBytes = 36;
// RFC 5322 ends lines at 998; names and brackets come on top.
constexpr size_t kMaxLinkBytes = 900;
constexpr size_t kMaxAddressBytes = 254;

bool IsPlain(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), absl::ascii_isprint) && !absl::StrContains(text, "=?");
}

// Inside angle brackets, on the wire as well as in a header.
bool IsSafeAddress(absl::string_view address) {
  return !address.empty() && address.size() <= kMaxAddressBytes &&
         std::all_of(address.begin(), address.end(), absl::ascii_isgraph) &&
         address.find_first_of("<>(),;:\\\"") == absl::string_view::npos && absl::StrContains(address, "@");
}

bool IsSafeLink(absl::string_view link) {
  return link.size() <= kMaxLinkBytes && std::all_of(link.begin(), link.end(), absl::ascii_isgraph) &&
         link.find_first_of("<>") == absl::string_view::npos;
}

// "Name" <address>, or the address alone.
std::string Mailbox(const MailSender& sender) {
  if (sender.name.empty()) return sender.address;
  const bool plain = IsPlain(sender.name) && sender.name.size() <= kMaxPlainHeader;
  const std::string name =
      plain ? absl::StrCat("\"", absl::StrReplaceAll(sender.name, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"")
            : EncodeHeaderText(sender.name);
  return absl::StrCat(name, absl::StrContains(name, kLineEnd) ? "\r\n <" : " <", sender.address, ">");
}

void AddHeader(absl::string_view name, absl::string_view value, std::string* mail) {
  absl::StrAppend(mail, name, ": ", value, kLineEnd);
}

void AddPart(absl::string_view type, absl::string_view text, std::string* mail) {
  AddHeader("Content-Type", absl::StrCat(type, "; charset=utf-8"), mail);
  AddHeader("Content-Transfer-Encoding", "quoted-printable", mail);
  absl::StrAppend(mail, kLineEnd, EncodeQuotedPrintable(text), kLineEnd);
}

std::string WriteHeaders(const ProviderMessage& message, const MailSender& sender) {
  std::string mail;
  AddHeader("From", Mailbox(sender), &mail);
  AddHeader("To", message.address, &mail);
  AddHeader("Subject", EncodeHeaderText(message.content.subject()), &mail);
  AddHeader("Date", absl::FormatTime("%a, %d %b %Y %H:%M:%S +0000", message.create_time, absl::UTCTimeZone()), &mail);
  AddHeader("Message-ID", MessageIdOf(message, sender), &mail);
  if (!message.reply_to.empty()) AddHeader("Reply-To", message.reply_to, &mail);
  if (!message.unsubscribe_url.empty()) {
    AddHeader("List-Unsubscribe", absl::StrCat("<", message.unsubscribe_url, ">"), &mail);
    AddHeader("List-Unsubscribe-Post", "List-Unsubscribe=One-Click", &mail);
  }
  AddHeader("Auto-Submitted", "auto-generated", &mail);
  AddHeader("X-Carillon-Id", message.notification_id.ToString(), &mail);
  AddHeader("MIME-Version", "1.0", &mail);
  return mail;
}

// Quoted-printable text never contains "=_".
std::string BoundaryOf(const ProviderMessage& message) { return absl::StrCat("=_", message.delivery_id.ToString()); }

void EncodeLine(absl::string_view line, std::string* out) {
  size_t column = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    const bool blank_at_end = (c == ' ' || c == '\t') && i + 1 == line.size();
    const bool literal = (absl::ascii_isprint(c) || c == '\t') && c != '=' && !blank_at_end;
    const size_t width = literal ? 1 : 3;
    // A place is left for the sign that the line goes on.
    if (column + width > kMaxLine - 1) {
      absl::StrAppend(out, "=", kLineEnd);
      column = 0;
    }
    if (literal) {
      out->push_back(c);
    } else {
      absl::StrAppendFormat(out, "=%02X", static_cast<unsigned char>(c));
    }
    column += width;
  }
}

}  // namespace

std::string MessageIdOf(const ProviderMessage& message, const MailSender& sender) {
  return absl::StrCat("<", message.delivery_id.ToString(), "@", sender.address.substr(sender.address.rfind('@') + 1),
                      ">");
}

absl::Status CheckMailHeaders(const ProviderMessage& message, const MailSender& sender) {
  if (!IsSafeAddress(message.address)) return absl::InvalidArgumentError("the address can't be written to");
  if (!IsSafeAddress(sender.address)) return absl::InvalidArgumentError("from_address can't be written from");
  if (!IsSafeHeaderText(sender.name)) return absl::InvalidArgumentError("from_name has a control character");
  if (!IsSafeHeaderText(message.content.subject()))
    return absl::InvalidArgumentError("subject has a control character");
  if (!message.reply_to.empty() && !IsSafeAddress(message.reply_to)) {
    return absl::InvalidArgumentError("reply_to is no address");
  }
  if (!IsSafeLink(message.unsubscribe_url)) return absl::InvalidArgumentError("unsubscribe_url is no link");
  return absl::OkStatus();
}

absl::StatusOr<std::string> WriteMail(const ProviderMessage& message, const MailSender& sender) {
  RETURN_IF_ERROR(CheckMailHeaders(message, sender));
  std::string mail = WriteHeaders(message, sender);
  const v1::RenderedContent& content = message.content;
  if (content.html().empty()) {
    AddPart("text/plain", content.text(), &mail);
  } else if (content.text().empty()) {
    AddPart("text/html", content.html(), &mail);
  } else {
    const std::string boundary = BoundaryOf(message);
    AddHeader("Content-Type", absl::StrCat("multipart/alternative; boundary=\"", boundary, "\""), &mail);
    // The best last (RFC 2046, 5.1.4).
    absl::StrAppend(&mail, kLineEnd, "--", boundary, kLineEnd);
    AddPart("text/plain", content.text(), &mail);
    absl::StrAppend(&mail, "--", boundary, kLineEnd);
    AddPart("text/html", content.html(), &mail);
    absl::StrAppend(&mail, "--", boundary, "--", kLineEnd);
  }
  return mail;
}

std::string EncodeHeaderText(absl::string_view text) {
  if (IsPlain(text) && text.size() <= kMaxPlainHeader) return std::string(text);
  std::string encoded;
  while (!text.empty()) {
    const size_t bytes = std::max<size_t>(1, Utf8PrefixBytes(text, kWordBytes));
    absl::StrAppend(&encoded, encoded.empty() ? "" : "\r\n ", "=?utf-8?B?", absl::Base64Escape(text.substr(0, bytes)),
                    "?=");
    text.remove_prefix(bytes);
  }
  return encoded;
}

std::string EncodeQuotedPrintable(absl::string_view text) {
  std::string encoded;
  encoded.reserve(text.size() + text.size() / 8);
  while (true) {
    const size_t end = text.find('\n');
    absl::string_view line = text.substr(0, end);
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    EncodeLine(line, &encoded);
    if (end == absl::string_view::npos) return encoded;
    absl::StrAppend(&encoded, kLineEnd);
    text.remove_prefix(end + 1);
  }
}

}  // namespace carillon
