// Enums and the words that PostgreSQL, the broker and the command line have for
// them, as one table.
#pragma once

#include <array>
#include <optional>
#include <utility>

#include "absl/strings/string_view.h"

namespace carillon {

template <typename Enum, size_t N>
using EnumNames = std::array<std::pair<Enum, absl::string_view>, N>;

// Empty if it has none.
template <typename Enum, size_t N>
absl::string_view NameOf(const EnumNames<Enum, N>& names, Enum value) {
  for (const auto& [candidate, name] : names) {
    if (candidate == value) return name;
  }
  return "";
}

template <typename Enum, size_t N>
std::optional<Enum> ValueOf(const EnumNames<Enum, N>& names, absl::string_view text) {
  for (const auto& [value, name] : names) {
    if (name == text) return value;
  }
  return std::nullopt;
}

}  // namespace carillon
