#include "server/api/contact_mask.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

constexpr absl::string_view kMask = "***";
constexpr int kMinPhoneDigits = 7;
constexpr size_t kMaxSeparators = 2;

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

// What ends an address: white space, and what encloses one or follows it.
bool IsOfAddress(char c) {
  return !absl::ascii_isspace(static_cast<unsigned char>(c)) && !absl::StrContains("<>()[]{}\"'`,;:@", c);
}

// Everything that stands around an @ and is not empty before it.
std::string WithoutEmails(absl::string_view text) {
  std::string masked;
  for (size_t at = text.find('@'); at != absl::string_view::npos; at = text.find('@')) {
    size_t begin = at;
    while (begin > 0 && IsOfAddress(text[begin - 1])) --begin;
    size_t end = at + 1;
    const bool is_address = begin < at;
    while (is_address && end < text.size() && (IsOfAddress(text[end]) || text[end] == '@')) ++end;
    absl::StrAppend(&masked, is_address ? text.substr(0, begin) : text.substr(0, end), is_address ? kMask : "");
    text.remove_prefix(end);
  }
  return absl::StrCat(masked, text);
}

// Where the next digit of a number is, if one follows here: after a separator or two.
// A single digit after a dot belongs to a code, such as 550 5.7.26.
size_t NextDigit(absl::string_view text, size_t at) {
  size_t next = at;
  while (next < text.size() && next - at < kMaxSeparators && absl::StrContains(" -.()/", text[next])) ++next;
  if (next >= text.size() || !IsDigit(text[next])) return absl::string_view::npos;
  const bool after_dot = next > at && text[next - 1] == '.';
  if (after_dot && (next + 1 >= text.size() || !IsDigit(text[next + 1]))) return absl::string_view::npos;
  return next;
}

// Of a text that begins with a digit: how long the number is that it begins with.
size_t NumberAt(absl::string_view text, int& digits) {
  size_t end = 0;
  digits = 0;
  for (size_t next = 0; next != absl::string_view::npos; next = NextDigit(text, end)) {
    end = next + 1;
    ++digits;
  }
  return end;
}

std::string WithoutPhones(absl::string_view text) {
  std::string masked;
  while (!text.empty()) {
    const auto* const digit = std::find_if(text.begin(), text.end(), IsDigit);
    absl::string_view before = text.substr(0, digit - text.begin());
    text.remove_prefix(before.size());
    int digits = 0;
    const absl::string_view number = text.substr(0, NumberAt(text, digits));
    text.remove_prefix(number.size());
    const bool is_phone = digits >= kMinPhoneDigits;
    if (is_phone && absl::EndsWith(before, "+")) before.remove_suffix(1);
    absl::StrAppend(&masked, before, is_phone ? kMask : number);
  }
  return masked;
}

}  // namespace

std::string WithoutContacts(absl::string_view text) { return WithoutPhones(WithoutEmails(text)); }

}  // namespace carillon
