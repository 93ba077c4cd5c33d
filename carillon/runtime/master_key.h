// The key that what is stored and what leaves us stands on: it seals secrets in
// PostgreSQL and signs links. Comes from the environment only: command lines are
// public.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon {

// Immutable; safe to share and to copy. Every use has a key of its own, derived by
// HKDF (RFC 5869).
class MasterKey {
 public:
  // The environment variable that holds it.
  static constexpr const char* kVariable = "CARILLON_MASTER_KEY";

  // One key of 64 hexadecimal digits, or two with a comma between them: the first
  // seals and signs, both open and verify. INVALID_ARGUMENT for anything else; the
  // message names the variable and shows nothing of the value.
  static absl::StatusOr<MasterKey> FromHex(absl::string_view hex);
  // From the variable.
  static absl::StatusOr<MasterKey> FromEnvironment();

  // AES-256-GCM: a version byte, a random nonce, the text and its tag; 29 bytes more
  // than `plain`. Opens in the same context only, so that a row can't be moved.
  std::string Seal(absl::string_view plain, absl::string_view context) const;
  // FAILED_PRECONDITION if it was sealed with another key or in another context, or
  // was changed since.
  absl::StatusOr<std::string> Open(absl::string_view sealed, absl::string_view context) const;

  // False if it has to be sealed again before the older of two keys can be dropped.
  bool IsSealedWithNewest(absl::string_view sealed, absl::string_view context) const;

  // HMAC-SHA256: 32 bytes.
  std::string Sign(absl::string_view purpose, absl::string_view text) const;
  // True if `mac` is the beginning of the signature by either key, at least 16
  // bytes of it. In constant time.
  bool Verify(absl::string_view purpose, absl::string_view text, absl::string_view mac) const;

  // A key of so many bytes for another algorithm, from each of ours, the newest first.
  std::vector<std::string> DeriveKeys(absl::string_view purpose, size_t bytes) const;

 private:
  explicit MasterKey(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  std::vector<std::string> keys_;  // Of 32 bytes, the first is the newest.
};

}  // namespace carillon
