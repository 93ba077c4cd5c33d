// Protobuf JSON that commands read, from files and options.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace carillon::ctl {

// "-": standard input.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// In a file enums may be written short: "social" for "WEIGHT_SOCIAL". What is no
// text stays as it is: the parser names the fault.
void LengthenEnum(nlohmann::json& value, const std::string& prefix);

// Of --data.
absl::Status ParseData(const std::string& json, google::protobuf::Struct* data);

}  // namespace carillon::ctl
