// Time for measuring: never jumps, and means nothing outside this machine's run.
#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace carillon {

// Since some moment of the past.
inline absl::Duration Monotonic() { return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }

}  // namespace carillon
