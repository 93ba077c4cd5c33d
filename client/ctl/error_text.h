// What a command that failed says on standard error.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace carillon::ctl {

// RESOURCE_EXHAUSTED: it is full; try again in 12 s [OVERLOADED what=it]
// The time is the server's, if it told one.
std::string ErrorText(const absl::Status& status);

}  // namespace carillon::ctl
