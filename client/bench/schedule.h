// When the calls of an open loop are due, fixed before the first of them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace carillon::bench {

// The instants of a Poisson process with this mean rate, as offsets below
// `length`, rising. The same seed makes the same.
std::vector<absl::Duration> PoissonSchedule(uint64_t seed, double per_second, absl::Duration length);

// Waits until MonotonicNow() is `moment`, as exactly as the kernel can.
void SleepUntil(absl::Duration moment);

}  // namespace carillon::bench
