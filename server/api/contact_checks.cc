#include "server/api/contact_checks.h"

#include <phonenumbers/phonenumberutil.h>

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/locale.h"
#include "carillon/runtime/secrets.h"

namespace carillon {
namespace {

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

constexpr size_t kMaxLocalPartBytes = 64;  // RFC 5321, section 4.5.3.1.1.
constexpr size_t kMaxLabelBytes = 63;      // RFC 1035, section 2.3.4.
constexpr size_t kMaxWrittenPhoneBytes = 32;
// "+" and digits: shorter ones are no subscribers' numbers, E.164 ends at 15 digits.
constexpr size_t kMinPhoneBytes = 8;
constexpr size_t kMaxPhoneBytes = 16;
constexpr size_t kMaxTimeZoneBytes = 64;
constexpr size_t kMinApnsDigits = 64;
constexpr size_t kMaxApnsDigits = 200;
constexpr size_t kDeviceIdDigits = 32;

template <typename Allowed>
bool All(absl::string_view text, Allowed allowed) {
  return std::all_of(text.begin(), text.end(), [&](unsigned char c) { return allowed(c); });
}

bool IsAlpha(unsigned char c) { return absl::ascii_isalpha(c); }
bool IsDigit(unsigned char c) { return absl::ascii_isdigit(c); }
bool IsAlnum(unsigned char c) { return absl::ascii_isalnum(c); }

// Atom text (RFC 5322, section 3.2.3) between single dots.
bool IsLocalPart(absl::string_view local) {
  if (local.empty() || local.size() > kMaxLocalPartBytes) return false;
  const auto is_atom_text = [](unsigned char c) {
    return IsAlnum(c) || absl::StrContains("!#$%&'*+-/=?^_`{|}~", static_cast<char>(c));
  };
  for (const absl::string_view atom : absl::StrSplit(local, '.')) {
    if (atom.empty() || !All(atom, is_atom_text)) return false;
  }
  return true;
}

bool IsLabel(absl::string_view label) {
  return !label.empty() && label.size() <= kMaxLabelBytes && label.front() != '-' && label.back() != '-' &&
         All(label, [](unsigned char c) { return IsAlnum(c) || c == '-'; });
}

bool IsDomain(absl::string_view domain) {
  const std::vector<absl::string_view> labels = absl::StrSplit(domain, '.');
  return labels.size() >= 2 && std::all_of(labels.begin(), labels.end(), IsLabel) && !All(labels.back(), IsDigit);
}

// Empty if it is no number that can exist.
std::string ToE164(const std::string& written) {
  const auto is_written = [](unsigned char c) {
    return IsDigit(c) || absl::StrContains("+ -.()", static_cast<char>(c));
  };
  if (written.size() > kMaxWrittenPhoneBytes || written.front() != '+' || !All(written, is_written)) return "";
  const PhoneNumberUtil& numbers = *PhoneNumberUtil::GetInstance();
  PhoneNumber number;
  // "ZZ": of no country, so that only numbers that name theirs are read.
  if (numbers.Parse(written, "ZZ", &number) != PhoneNumberUtil::NO_PARSING_ERROR) return "";
  if (!numbers.IsPossibleNumber(number)) return "";
  std::string phone;
  numbers.Format(number, PhoneNumberUtil::E164, &phone);
  return phone.size() >= kMinPhoneBytes && phone.size() <= kMaxPhoneBytes ? phone : "";
}

// Only names: the loader would also take files, and what it is told by the
// environment.
bool IsZoneName(absl::string_view name) {
  if (name.size() > kMaxTimeZoneBytes || name == "localtime" || name == "Factory") return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts[0] == "posix" || parts[0] == "right" || parts[0] == "Fixed") return false;
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    return !part.empty() && IsAlpha(part[0]) &&
           All(part, [](unsigned char c) { return IsAlnum(c) || c == '_' || c == '-' || c == '+'; });
  });
}

}  // namespace

std::string CheckEmail(absl::string_view field, const std::string& email, Violations& violations) {
  const size_t at = email.rfind('@');
  const bool fine = at != std::string::npos && email.size() <= limits::kMaxEmailBytes &&
                    IsLocalPart(absl::string_view(email).substr(0, at)) &&
                    IsDomain(absl::string_view(email).substr(at + 1));
  if (!fine) {
    violations.Add(field,
                   absl::StrCat("must be local@domain in ASCII, at most ", limits::kMaxEmailBytes, " bytes, ",
                                kMaxLocalPartBytes, " of them before the @, with a domain of two labels or more"));
  }
  return email;
}

std::string CheckPhone(absl::string_view field, const std::string& phone, Violations& violations) {
  std::string normal = phone.empty() ? "" : ToE164(phone);
  if (normal.empty()) {
    violations.Add(field,
                   "must be a number that can exist, in E.164: + and the country's code first, as +4915112345678");
  }
  return normal;
}

std::string CheckLocale(absl::string_view field, const std::string& locale, Violations& violations) {
  std::optional<std::string> usual = CanonicalLocale(locale);
  if (!usual.has_value()) {
    violations.Add(field, "must be a BCP 47 tag of a language and, if need be, a script and a region: es, es-MX");
  }
  return std::move(usual).value_or("");
}

std::string CheckTimeZone(absl::string_view field, const std::string& time_zone, Violations& violations) {
  absl::TimeZone ignored;
  if (!IsZoneName(time_zone) || !absl::LoadTimeZone(time_zone, &ignored)) {
    violations.Add(field, "must be the IANA name of a time zone, such as Europe/Berlin");
  }
  return time_zone;
}

std::string CheckDeviceToken(absl::string_view field, Channel channel, const std::string& token,
                             Violations& violations) {
  if (channel == Channel::kApns) {
    const auto is_hex = [](unsigned char c) { return absl::ascii_isxdigit(c); };
    if (token.size() < kMinApnsDigits || token.size() > kMaxApnsDigits || !All(token, is_hex)) {
      violations.Add(field, absl::StrCat("must be ", kMinApnsDigits, " to ", kMaxApnsDigits, " hexadecimal digits"));
    }
    return absl::AsciiStrToLower(token);
  }
  const auto is_printable = [](unsigned char c) { return absl::ascii_isprint(c); };
  if (token.empty() || token.size() > limits::kMaxDeviceTokenBytes || !All(token, is_printable)) {
    violations.Add(field, absl::StrCat("must be 1 to ", limits::kMaxDeviceTokenBytes, " printable ASCII characters"));
  }
  return token;
}

std::optional<Channel> CheckPushChannel(absl::string_view field, v1::Channel channel, Violations& violations) {
  if (channel == v1::CHANNEL_APNS) return Channel::kApns;
  if (channel == v1::CHANNEL_FCM) return Channel::kFcm;
  violations.Add(field, "must be CHANNEL_APNS or CHANNEL_FCM");
  return std::nullopt;
}

std::string DeviceIdOf(Channel channel, absl::string_view token) {
  return absl::BytesToHexString(HashSecret(absl::StrCat(ToString(channel), ":", token))).substr(0, kDeviceIdDigits);
}

}  // namespace carillon
