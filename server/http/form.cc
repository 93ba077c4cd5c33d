#include "server/http/form.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace carillon {
namespace {

constexpr size_t kMaxFields = 100;
constexpr size_t kMaxBoundaryBytes = 70;  // RFC 2046, section 5.1.1.

std::optional<std::string> PercentDecode(absl::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      decoded.push_back(' ');
    } else if (text[i] != '%') {
      decoded.push_back(text[i]);
    } else if (i + 2 < text.size() && absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) &&
               absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]))) {
      decoded += absl::HexStringToBytes(text.substr(i + 1, 2));
      i += 2;
    } else {
      return std::nullopt;
    }
  }
  return decoded;
}

// The value of name="..." or name=... in a header; empty if it has none.
std::string Parameter(absl::string_view header, absl::string_view name) {
  for (absl::string_view part : absl::StrSplit(header, ';')) {
    part = absl::StripAsciiWhitespace(part);
    if (!absl::StartsWithIgnoreCase(part, absl::StrCat(name, "="))) continue;
    part.remove_prefix(name.size() + 1);
    if (absl::ConsumePrefix(&part, "\"")) (void)absl::ConsumeSuffix(&part, "\"");
    return std::string(part);
  }
  return "";
}

// The part's name, from its header lines.
std::string PartName(absl::string_view lines) {
  for (const absl::string_view line : absl::StrSplit(lines, "\r\n")) {
    if (absl::StartsWithIgnoreCase(line, "content-disposition:")) return Parameter(line, "name");
  }
  return "";
}

std::optional<FormFields> ParseMultipart(absl::string_view body, const std::string& boundary) {
  if (boundary.empty() || boundary.size() > kMaxBoundaryBytes) return std::nullopt;
  const std::string delimiter = absl::StrCat("\r\n--", boundary);
  const std::string whole = absl::StrCat("\r\n", body);
  FormFields fields;
  size_t begin = whole.find(delimiter);
  while (begin != std::string::npos) {
    begin += delimiter.size();
    if (whole.compare(begin, 2, "--") == 0) return fields;
    const size_t end = whole.find(delimiter, begin);
    const size_t headers_end = whole.find("\r\n\r\n", begin);
    if (end == std::string::npos || headers_end == std::string::npos || headers_end > end) return std::nullopt;
    if (fields.size() >= kMaxFields) return std::nullopt;
    const absl::string_view part(whole);
    const size_t content = headers_end + 4;
    fields.emplace(PartName(part.substr(begin, headers_end - begin)),
                   part.substr(std::min(content, end), end - std::min(content, end)));
    begin = end;
  }
  return std::nullopt;
}

}  // namespace

std::optional<FormFields> ParseUrlEncoded(absl::string_view text) {
  FormFields fields;
  for (const absl::string_view pair : absl::StrSplit(text, '&', absl::SkipEmpty())) {
    if (fields.size() >= kMaxFields) return std::nullopt;
    const std::pair<absl::string_view, absl::string_view> split = absl::StrSplit(pair, absl::MaxSplits('=', 1));
    std::optional<std::string> name = PercentDecode(split.first);
    std::optional<std::string> value = PercentDecode(split.second);
    if (!name.has_value() || !value.has_value()) return std::nullopt;
    fields.emplace(*std::move(name), *std::move(value));
  }
  return fields;
}

std::optional<FormFields> ParseForm(const HttpRequest& request) {
  const absl::string_view type = request.Header("content-type");
  if (absl::StartsWithIgnoreCase(type, "application/x-www-form-urlencoded")) return ParseUrlEncoded(request.body);
  if (absl::StartsWithIgnoreCase(type, "multipart/form-data")) {
    return ParseMultipart(request.body, Parameter(type, "boundary"));
  }
  return std::nullopt;
}

std::string FieldOf(const FormFields& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}

}  // namespace carillon
