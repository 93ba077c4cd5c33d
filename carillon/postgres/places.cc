#include "carillon/postgres/places.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/ids.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

constexpr size_t kMaxPartBytes = 1024;

bool IsHex(absl::string_view text) {
  return text.size() % 2 == 0 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

bool IsOfType(const std::string& part, PlaceType type) {
  int64_t number = 0;
  switch (type) {
    case PlaceType::kNumber:
      return absl::SimpleAtoi(part, &number);
    case PlaceType::kUuid:
      return Uuid::Parse(part).has_value();
    case PlaceType::kHex:
      return part.size() <= kMaxPartBytes && IsHex(part);
    case PlaceType::kText:
      return part.size() <= kMaxPartBytes && StorableText(part, kMaxPartBytes) == part;
  }
  return false;
}

}  // namespace

std::vector<std::string> FirstPlace(absl::Span<const PlaceType> types) {
  std::vector<std::string> place;
  for (const PlaceType type : types) {
    place.push_back(type == PlaceType::kNumber ? "0" : type == PlaceType::kUuid ? Uuid().ToString() : "");
  }
  return place;
}

std::string EncodePlace(absl::Span<const std::string> parts) {
  return absl::StrJoin(parts, ".",
                       [](std::string* out, const std::string& part) { out->append(absl::BytesToHexString(part)); });
}

absl::StatusOr<std::vector<std::string>> DecodePlace(absl::string_view place, absl::Span<const PlaceType> types) {
  std::vector<std::string> parts;
  if (types.empty() && place.empty()) return parts;
  for (const absl::string_view part : absl::StrSplit(place, '.')) {
    if (!IsHex(part)) break;
    parts.push_back(absl::HexStringToBytes(part));
  }
  bool fine = parts.size() == types.size();
  for (size_t i = 0; fine && i < parts.size(); ++i) fine = IsOfType(parts[i], types[i]);
  if (!fine) return error::InvalidField("page_token", "must be the next_page_token of an answer before");
  return parts;
}

}  // namespace carillon
