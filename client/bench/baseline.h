// The naive way to do what a send does: a program that writes the same two rows
// itself, one transaction for each notification, over 8 connections.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bench/cpu_meter.h"
#include "client/bench/options.h"

namespace carillon::bench {

// Writes to tables of its own on the same server, in the schema bench_baseline:
// so that no relay publishes its rows. They have the columns, constraints and
// indexes of the real ones, but are not partitioned, which makes them cheaper to
// write: the comparison favours the naive way. The settings of its sessions are
// those of the system's own.
class Baseline {
 public:
  struct Result {
    int64_t written = 0;
    Usage usage;
    std::vector<absl::Duration> latencies;
    // The first error.
    absl::Status status;
  };

  // Makes the tables; replaces those of a run that was broken off.
  static absl::StatusOr<std::unique_ptr<Baseline>> Create(const BenchOptions& options);
  // Drops them.
  ~Baseline();

  // After `warmup`, which is not counted, writes for this long. Blocks.
  Result Run(absl::Duration warmup, absl::Duration time, const CpuMeter& meter);

 private:
  class Writer;

  explicit Baseline(const BenchOptions& options) : options_(options) {}

  const BenchOptions options_;
  uint64_t runs_ = 0;
};

}  // namespace carillon::bench
