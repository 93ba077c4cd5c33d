#include "carillon/domain/locale.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

bool AllOf(absl::string_view text, bool (*predicate)(unsigned char)) {
  return std::all_of(text.begin(), text.end(), predicate);
}

bool IsLanguage(absl::string_view part) {
  return part.size() >= 2 && part.size() <= 3 && AllOf(part, absl::ascii_isalpha);
}
bool IsScript(absl::string_view part) { return part.size() == 4 && AllOf(part, absl::ascii_isalpha); }
bool IsRegion(absl::string_view part) {
  return (part.size() == 2 && AllOf(part, absl::ascii_isalpha)) ||
         (part.size() == 3 && AllOf(part, absl::ascii_isdigit));
}
bool IsVariant(absl::string_view part) {
  const bool long_enough = part.size() >= 5 || (part.size() == 4 && absl::ascii_isdigit(part.front()));
  return long_enough && part.size() <= 8 && AllOf(part, absl::ascii_isalnum);
}

}  // namespace

std::optional<std::string> CanonicalLocale(absl::string_view text) {
  if (text.size() > limits::kMaxLocaleBytes) return std::nullopt;
  std::vector<std::string> parts = absl::StrSplit(absl::AsciiStrToLower(text), '-');
  if (!IsLanguage(parts.front())) return std::nullopt;
  size_t next = 1;
  if (next < parts.size() && IsScript(parts[next])) {
    parts[next][0] = absl::ascii_toupper(parts[next][0]);
    ++next;
  }
  if (next < parts.size() && IsRegion(parts[next])) {
    absl::AsciiStrToUpper(&parts[next]);
    ++next;
  }
  if (!std::all_of(parts.begin() + static_cast<int64_t>(next), parts.end(), IsVariant)) return std::nullopt;
  return absl::StrJoin(parts, "-");
}

std::vector<std::string> LocaleAndWider(absl::string_view locale) {
  std::vector<std::string> chain;
  while (!locale.empty()) {
    chain.emplace_back(locale);
    const size_t dash = locale.rfind('-');
    locale = locale.substr(0, dash == absl::string_view::npos ? 0 : dash);
  }
  return chain;
}

}  // namespace carillon
