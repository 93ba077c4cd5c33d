// Figures of a measurement as one JSON document, and the same as text.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/bench/cpu_meter.h"

namespace carillon::bench {

using Json = nlohmann::ordered_json;

struct Percentiles {
  absl::Duration p50;
  absl::Duration p95;
  absl::Duration p99;
  absl::Duration p999;
  absl::Duration max;
};
// By nearest rank, of every value; zeros of nothing.
Percentiles PercentilesOf(std::vector<absl::Duration> durations);

double RatePerSecond(int64_t count, absl::Duration time);
double Milliseconds(absl::Duration duration);  // To the microsecond.

// In milliseconds.
Json JsonOf(const Percentiles& times);
// Microseconds of CPU for each of so many notifications, by process and in all,
// and what the machine had to give.
Json JsonOf(const Usage& usage, int64_t notifications);

// What kept it from being faster, in words: the process that used about a core, all
// cores, or nothing of this machine.
std::string BoundOf(const Usage& usage);

// A line for each value: "cpu_us.server  41.2".
std::string TextOf(const Json& document);

}  // namespace carillon::bench
