// Within what time each lane promises to take what was accepted.
#pragma once

#include <map>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/domain/lane.h"

namespace carillon {

using LaneObjectives = std::map<Lane, absl::Duration>;

// "payment=5s,marketing=10m": a lane that is not named has its default. INVALID_ARGUMENT
// in words for a lane that does not exist or a time that is none.
absl::StatusOr<LaneObjectives> ParseObjectives(absl::string_view text);

}  // namespace carillon
