// Strong types for the identifiers that travel through every layer.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace carillon {

// A value of Rep that can't be mistaken for another kind of id. Immutable.
template <typename Tag, typename Rep>
class StrongId {
 public:
  StrongId() = default;
  explicit StrongId(Rep value) : value_(std::move(value)) {}

  const Rep& value() const { return value_; }

  friend auto operator<=>(const StrongId&, const StrongId&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const StrongId& id) {
    return H::combine(std::move(state), id.value_);
  }

 private:
  Rep value_{};
};

using AppId = StrongId<struct AppTag, int64_t>;
using RecipientId = StrongId<struct RecipientTag, std::string>;

// The catalogue rows that every app has.
inline const AppId kShippedApp{0};

// 128 bits in network order. Immutable value; safe to share.
class Uuid {
 public:
  Uuid() = default;
  explicit Uuid(const std::array<uint8_t, 16>& bytes) : bytes_(bytes) {}

  // nullopt unless text is 36 characters, 8-4-4-4-12 hexadecimal digits.
  static std::optional<Uuid> Parse(absl::string_view text);
  // nullopt unless bytes are 16.
  static std::optional<Uuid> FromBytes(absl::string_view bytes);

  // Lower case, with hyphens.
  std::string ToString() const;
  absl::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  // The moment in a version 7 id, in milliseconds (RFC 9562, section 5.7).
  absl::Time time() const;

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const Uuid& id) {
    return H::combine(std::move(state), id.bytes_);
  }

 private:
  std::array<uint8_t, 16> bytes_{};
};

// A UUID, version 7: its order is the order of acceptance, to the millisecond.
using NotificationId = Uuid;

// Makes version 7 ids: 48 bits of Unix milliseconds, then random bits from the
// operating system's generator by way of a per-thread one. Thread-safe.
Uuid NewUuid7(absl::Time now);
// Not above any version 7 id of this moment or later. Zero before 1970.
Uuid Uuid7Floor(absl::Time moment);

}  // namespace carillon
