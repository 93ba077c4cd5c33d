// Places in an ordered table, as texts that callers keep in page tokens. They come
// back from outside, so they are checked before they meet a statement.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace carillon {

// What a part of a place may be.
enum class PlaceType { kNumber, kUuid, kHex, kText };

// Before every row that is ordered by columns of these types.
std::vector<std::string> FirstPlace(absl::Span<const PlaceType> types);
// Any texts, as one.
std::string EncodePlace(absl::Span<const std::string> parts);
// The parts; INVALID_ARGUMENT naming page_token unless they are of these types.
absl::StatusOr<std::vector<std::string>> DecodePlace(absl::string_view place, absl::Span<const PlaceType> types);

}  // namespace carillon
