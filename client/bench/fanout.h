// The three measurements of `carillon-bench fanout`. As those of scenarios.h.
#pragma once

#include "client/bench/guards.h"
#include "client/bench/scenarios.h"

namespace carillon::bench {

// Events are expanded, a row for each follower: rate, CPU, memory, and likes meanwhile.
absl::StatusOr<Json> RunExpansion(const FanoutOptions& options, Guards& guards);
// An event is stored once for all: when those who are online have it, and what the others see.
absl::StatusOr<Json> RunSharedEvent(const FanoutOptions& options, Guards& guards);
// What either way costs with a thousand, ten thousand and a hundred thousand followers.
absl::StatusOr<Json> RunCrossover(const FanoutOptions& options, Guards& guards);

// A name for what a run makes that no other run has.
std::string FanoutRunName(const BenchOptions& bench);

}  // namespace carillon::bench
