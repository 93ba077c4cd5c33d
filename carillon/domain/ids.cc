#include "carillon/domain/ids.h"

#include <algorithm>
#include <cstring>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"

namespace carillon {

std::optional<Uuid> Uuid::Parse(absl::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::string digits;
  digits.reserve(32);
  for (size_t i = 0; i < text.size(); ++i) {
    const bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
    if (hyphen != (text[i] == '-')) return std::nullopt;
    if (hyphen) continue;
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(text[i]))) return std::nullopt;
    digits.push_back(text[i]);
  }
  return FromBytes(absl::HexStringToBytes(digits));
}

std::optional<Uuid> Uuid::FromBytes(absl::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  std::array<uint8_t, 16> array;
  std::memcpy(array.data(), bytes.data(), array.size());
  return Uuid(array);
}

std::string Uuid::ToString() const {
  const std::string hex = absl::BytesToHexString(bytes());
  std::string text;
  text.reserve(36);
  text.append(hex, 0, 8).push_back('-');
  text.append(hex, 8, 4).push_back('-');
  text.append(hex, 12, 4).push_back('-');
  text.append(hex, 16, 4).push_back('-');
  text.append(hex, 20, 12);
  return text;
}

absl::Time Uuid::time() const {
  int64_t milliseconds = 0;
  for (int i = 0; i < 6; ++i) milliseconds = milliseconds << 8 | bytes_[i];
  return absl::FromUnixMillis(milliseconds);
}

Uuid Uuid7Floor(absl::Time moment) {
  const int64_t milliseconds = std::max<int64_t>(absl::ToUnixMillis(moment), 0);
  std::array<uint8_t, 16> bytes{};
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<uint8_t>(milliseconds >> (40 - 8 * i));
  return Uuid(bytes);
}

Uuid NewUuid7(absl::Time now) {
  thread_local absl::BitGen random;
  const uint64_t high = absl::Uniform<uint64_t>(random);
  const uint64_t low = absl::Uniform<uint64_t>(random);
  std::array<uint8_t, 16> bytes;
  std::memcpy(bytes.data(), Uuid7Floor(now).bytes().data(), bytes.size());
  std::memcpy(bytes.data() + 6, &high, 2);
  std::memcpy(bytes.data() + 8, &low, 8);
  bytes[6] = static_cast<uint8_t>(0x70 | (bytes[6] & 0x0f));  // Version 7.
  bytes[8] = static_cast<uint8_t>(0x80 | (bytes[8] & 0x3f));  // Variant of RFC 9562.
  return Uuid(bytes);
}

}  // namespace carillon
