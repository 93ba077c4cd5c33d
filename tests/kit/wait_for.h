// Waiting for what another thread or process does: for a condition, up to a
// time, never for a time that hopes to be long enough.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace carillon::testing {

// True as soon as the condition holds; false if it does not within the limit.
// Looks every 10 ms, and once more at the end: on a busy machine the last look may
// have been long ago. For EXPECT_TRUE(WaitFor([&] { ... })).
inline bool WaitFor(absl::FunctionRef<bool()> condition, absl::Duration limit = absl::Seconds(60)) {
  const absl::Time deadline = absl::Now() + limit;
  while (absl::Now() < deadline) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return condition();
}

}  // namespace carillon::testing
