// Credentials of apps: made from the operating system's random generator,
// stored as a SHA-256 only (256 random bits need no slow hash), compared in
// constant time.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace carillon {

// 96 random bits, to be shown and logged freely: "ck_" and 24 hexadecimal digits.
std::string NewAppKey();
// 256 random bits, shown once: "cs_" and 64 hexadecimal digits.
std::string NewAppSecret();
// 32 bytes.
std::string HashSecret(absl::string_view secret);
// Takes the same time wherever two texts of equal length differ.
bool ConstantTimeEquals(absl::string_view a, absl::string_view b);

}  // namespace carillon
