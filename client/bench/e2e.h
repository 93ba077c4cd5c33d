// The run of `carillon-bench e2e`: load, faults, and the comparison at the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bench/options.h"
#include "client/bench/report.h"

namespace carillon::bench {

struct E2eOptions {
  // `types` with weights; without faults `warmup` comes first.
  BenchOptions bench;
  // Each recipient has settings and mutes; without faults only.
  bool settings = false;
  // Empty: none, but for a run with faults, which keeps one in the directory for
  // temporary files and removes it after it has passed.
  std::string accepted_log;
  absl::Duration settle_timeout = absl::Seconds(180);
  // Empty: no faults.
  std::vector<std::string> faults;
  absl::Duration postgres_away = absl::Seconds(60);
};

// Without faults and without a log the load is as light as it can be, nothing is
// repeated, and the CPU until the last arrival is measured. With either, each
// send has an idempotency key and is repeated until it is accepted.
//
// Blocks until the run is over. Tells what it does on standard error. An error
// means that it could not begin.
absl::StatusOr<Report> RunE2e(E2eOptions options);

}  // namespace carillon::bench
