// The two measurements of `carillon-bench deliveries`. As those of scenarios.h.
#pragma once

#include "client/bench/guards.h"
#include "client/bench/sandbox.h"
#include "client/bench/scenarios.h"

namespace carillon::bench {

// Those that both send to (ReachablePeople).
inline constexpr const char* kGroup = "bench-reach";

// As fast as they go, on one channel or on each in turn.
absl::StatusOr<Json> RunThroughput(const DeliveriesOptions& options, Guards& guards, const Sandbox& sandbox);
// What others notice of a provider that hangs.
absl::StatusOr<Json> RunHangingProvider(const DeliveriesOptions& options, Guards& guards, const Sandbox& sandbox);

}  // namespace carillon::bench
