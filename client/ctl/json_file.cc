#include "client/ctl/json_file.h"

#include <google/protobuf/util/json_util.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace carillon::ctl {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("can't read ", path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void LengthenEnum(nlohmann::json& value, const std::string& prefix) {
  if (!value.is_string()) return;
  const std::string upper = absl::AsciiStrToUpper(value.get<std::string>());
  value = absl::StartsWith(upper, prefix) ? upper : absl::StrCat(prefix, upper);
}

absl::Status ParseData(const std::string& json, google::protobuf::Struct* data) {
  if (google::protobuf::util::JsonStringToMessage(json, data).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError("--data must be a JSON object");
}

}  // namespace carillon::ctl
