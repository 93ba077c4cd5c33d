#include "carillon/wire/group_data.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace carillon {

std::string SummaryOf(const GroupData& group) {
  if (group.names.empty()) return group.count == 1 ? "Somebody" : absl::StrCat(group.count, " people");
  const std::string& first = group.names.front();
  if (group.count == 1) return first;
  if (group.count == 2) return absl::StrCat(first, " and ", group.names.size() > 1 ? group.names[1] : "1 other");
  return absl::StrCat(first, " and ", group.count - 1, " others");
}

std::string WithGroup(absl::string_view data_json, const GroupData& group) {
  nlohmann::json data = nlohmann::json::parse(data_json, nullptr, /*allow_exceptions=*/false);
  if (!data.is_object()) data = nlohmann::json::object();
  data["count"] = group.count;
  data["others"] = group.count - 1;
  data["others_any"] = group.count > 1;
  data["names"] = group.names;
  data["summary"] = SummaryOf(group);
  return data.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace carillon
