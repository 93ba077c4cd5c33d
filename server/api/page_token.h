// Page tokens: opaque to callers, good only for the request that they were made
// for (https://google.aip.dev/158).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon {

// `fingerprint`: whatever must be the same on the next page, as text.
std::string EncodePageToken(absl::string_view position, absl::string_view fingerprint);
// The position; empty for an empty token. INVALID_ARGUMENT naming page_token if
// it was not made here, or for another request.
absl::StatusOr<std::string> DecodePageToken(absl::string_view token, absl::string_view fingerprint);

// 0 stands for the default; what is larger than the maximum is taken as it.
// INVALID_ARGUMENT for negative sizes.
absl::StatusOr<int> EffectivePageSize(int asked, int default_size, int max_size);

}  // namespace carillon
