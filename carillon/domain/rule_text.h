// Rules of a decision in words, for Explain and docs/decisions.md.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "carillon/domain/decider.h"

namespace carillon {

// "quiet hours until Tue 3 Mar 2026 07:00: hold". Times are those of this zone.
std::string Describe(const Rule& rule, absl::TimeZone zone);

}  // namespace carillon
