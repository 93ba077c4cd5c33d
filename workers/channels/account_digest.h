// Names an account without telling its secrets.
#pragma once

#include <openssl/sha.h>

#include <initializer_list>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace carillon {

// "kind:" and the hexadecimal SHA-256 of the parts.
inline std::string AccountDigest(absl::string_view kind, std::initializer_list<absl::string_view> parts) {
  std::string text;
  for (const absl::string_view part : parts) absl::StrAppend(&text, part.size(), ":", part);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return absl::StrCat(kind, ":", absl::BytesToHexString({reinterpret_cast<const char*>(digest), sizeof(digest)}));
}

}  // namespace carillon
