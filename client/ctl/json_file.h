// Files of protobuf JSON that commands read.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace carillon::ctl {

// "-": standard input.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// In a file enums may be written short: "social" for "WEIGHT_SOCIAL". What is no
// text stays as it is: the parser names the fault.
void LengthenEnum(nlohmann::json& value, const std::string& prefix);

}  // namespace carillon::ctl
