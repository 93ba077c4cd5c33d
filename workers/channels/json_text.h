// JSON as the adapters write and read it. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/string_view.h"

namespace carillon {

// Without white space; what is not UTF-8 becomes U+FFFD.
inline std::string WriteJson(const nlohmann::json& json) {
  return json.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
}

// Null if it is no JSON.
inline nlohmann::json ReadJson(absl::string_view text) {
  nlohmann::json json = nlohmann::json::parse(text.begin(), text.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? nlohmann::json() : json;
}

// The text or number at a pointer like "/error/details/0", as text; empty if there is none.
inline std::string TextAt(const nlohmann::json& json, const char* pointer) {
  const nlohmann::json::json_pointer path(pointer);
  if (!json.is_structured() || !json.contains(path)) return "";
  const nlohmann::json& value = json.at(path);
  if (value.is_string()) return value.get<std::string>();
  return value.is_number() ? value.dump() : "";
}

}  // namespace carillon
