// What was decided and why, as it is stored: see migrations/0020_schedules.up.sql.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "carillon/domain/decider.h"

namespace carillon {

// A JSON array of one entry.
std::string EncodeTrail(const TrailEntry& entry);
// Entries that are not understood are left out.
std::vector<TrailEntry> DecodeTrail(absl::string_view json, Channel channel);

}  // namespace carillon
