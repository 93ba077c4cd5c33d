// The measurements of carillon-bench but for e2e. Each blocks until it is done,
// tells what it does on standard error and returns its figures as one document.
// An error says why there are none: FAILED_PRECONDITION if something that makes
// the system safe was off.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/figures.h"
#include "client/bench/options.h"

namespace carillon::bench {

// True if the document is of a run without errors.
bool Passed(const Json& document);

struct SendOptions {
  BenchOptions bench;
  bool baseline = false;
};
// A closed loop on the door. The CPU of the relay and the workers, who do their
// part at the same time, is in it as far as they came.
absl::StatusOr<Json> RunSend(const SendOptions& options);

struct LatencyOptions {
  BenchOptions bench;
  double rate = 200;
};
// An open loop: times from the instant at which a send was due to its answer and
// to its arrival on the recipient's live stream.
absl::StatusOr<Json> RunLatency(const LatencyOptions& options);

struct IsolationOptions {
  BenchOptions bench;
  double rate = 200;  // Of payment and otp together.
  int64_t flood = 1'000'000;
  // Wait until the flood is delivered, instead of taking the rest away.
  bool drain = false;
};
// Latency of payment and otp, idle and while a flood of marketing is published
// and delivered, to half of the same recipients too.
absl::StatusOr<Json> RunIsolation(const IsolationOptions& options);

struct RelayOptions {
  BenchOptions bench;
  int64_t rows = 1'000'000;
  // Flag of the relay; 0: as the system runs it.
  int pack = 0;
  // Of otp, meanwhile.
  double rate = 50;
};
// The relay alone drains a prepared backlog of marketing.
absl::StatusOr<Json> RunRelay(const RelayOptions& options);

struct LaneOptions {
  BenchOptions bench;
  std::string lane = "payment";
};
// One lane's worker alone empties its queues.
absl::StatusOr<Json> RunLane(const LaneOptions& options);

struct PrefillOptions {
  BenchOptions bench;
  int64_t rows = 1'000'000;
};
// Makes the tables as large as if so many notifications had been delivered before.
absl::StatusOr<Json> RunPrefill(const PrefillOptions& options);

}  // namespace carillon::bench
