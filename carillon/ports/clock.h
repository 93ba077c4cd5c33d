// Time as a dependency: what decides by the clock is given one, so that tests
// can move it.
#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace carillon {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time. May jump; use it for what is stored or shown.
  virtual absl::Time Now() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace carillon
