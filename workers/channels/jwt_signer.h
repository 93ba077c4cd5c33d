// Signs JSON Web Tokens.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon {

enum class JwtAlgorithm {
  kEs256,  // An EC key of curve P-256.
  kRs256,  // An RSA key of 2048 bits or more.
};

// OK if `private_key_pem` is such a key. INVALID_ARGUMENT shows nothing of it.
absl::Status CheckJwtKey(JwtAlgorithm algorithm, absl::string_view private_key_pem);

// The token in compact form. `key_id` becomes the header's kid unless it is empty;
// `claims_json` is an object. Thread-safe.
absl::StatusOr<std::string> SignJwt(JwtAlgorithm algorithm, absl::string_view private_key_pem,
                                    const std::string& key_id, const std::string& claims_json);

}  // namespace carillon
