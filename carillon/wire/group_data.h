// What templates may say of a group of reactions: "Ana and 19 others".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace carillon {

struct GroupData {
  // Of names, of as many actors; longer ones are cut by whoever reads them.
  static constexpr int kNames = 3;

  int64_t count = 0;               // Distinct actors; at least one.
  std::vector<std::string> names;  // Of those who joined last, newest first. Who has none is left out.
};

// In English: "Ana", "Ana and Bob", "Ana and 19 others", "20 people".
std::string SummaryOf(const GroupData& group);

// The newest one's data (a JSON object, or empty) with count, others, others_any, names and
// summary, which take the place of what had these names.
std::string WithGroup(absl::string_view data_json, const GroupData& group);

}  // namespace carillon
