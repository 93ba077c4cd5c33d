#include "server/api/page_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/runtime/secrets.h"

namespace carillon {
namespace {
constexpr size_t kFingerprintBytes = 8;
}

std::string EncodePageToken(absl::string_view position, absl::string_view fingerprint) {
  std::string token;
  absl::WebSafeBase64Escape(absl::StrCat(HashSecret(fingerprint).substr(0, kFingerprintBytes), position), &token);
  return token;
}

absl::StatusOr<std::string> DecodePageToken(absl::string_view token, absl::string_view fingerprint) {
  if (token.empty()) return "";
  std::string text;
  if (!absl::WebSafeBase64Unescape(token, &text) || text.size() < kFingerprintBytes ||
      text.substr(0, kFingerprintBytes) != HashSecret(fingerprint).substr(0, kFingerprintBytes)) {
    return error::InvalidField("page_token",
                               "must be the next_page_token of the same request with other fields unchanged");
  }
  return text.substr(kFingerprintBytes);
}

absl::StatusOr<int> EffectivePageSize(int asked, int default_size, int max_size) {
  if (asked < 0) return error::InvalidField("page_size", absl::StrCat("must be 0 to ", max_size));
  return asked == 0 ? default_size : std::min(asked, max_size);
}

}  // namespace carillon
