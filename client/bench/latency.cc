#include <utility>

#include "absl/strings/str_cat.h"
#include "client/bench/guards.h"
#include "client/bench/live_latency.h"
#include "client/bench/scenarios.h"

namespace carillon::bench {
namespace {

absl::StatusOr<Json> Measure(const LatencyOptions& options, std::vector<std::string> types) {
  const BenchOptions& bench = options.bench;
  const CpuMeter meter(bench.stack_directory);
  LiveLatency latency(bench, absl::StrCat("latency-", absl::ToUnixSeconds(absl::Now()), "-", bench.seed),
                      std::move(types));
  if (absl::Status status = latency.Measure(bench.seed, options.rate, bench.warmup, bench.time, meter); !status.ok()) {
    return status;
  }
  const LiveLatency::Times times = latency.AllTimes();
  return Json{{"scenario", "latency"},
              {"passed", latency.errors().empty() && times.missing == 0},
              {"seed", bench.seed},
              {"rate", options.rate},
              {"users", bench.users},
              {"notifications", latency.counted()},
              {"missing", times.missing},
              {"errors", latency.errors()},
              {"due_to_answer_ms", JsonOf(PercentilesOf(times.answer))},
              {"due_to_stream_ms", JsonOf(PercentilesOf(times.arrival))},
              {"generator_late_ms", JsonOf(PercentilesOf(times.lateness))},
              {"usage", JsonOf(latency.usage(), latency.counted())}};
}

}  // namespace

absl::StatusOr<Json> RunLatency(const LatencyOptions& options) {
  absl::StatusOr<std::vector<std::string>> types = WeightedTypes(options.bench.types);
  if (!types.ok()) return types.status();
  Guards guards(options.bench);
  if (absl::Status status = guards.Check(); !status.ok()) return status;
  absl::StatusOr<Json> document = Measure(options, *std::move(types));
  if (!document.ok()) return document;
  if (absl::Status status = guards.CheckRun((*document)["notifications"].get<int64_t>()); !status.ok()) return status;
  return document;
}

}  // namespace carillon::bench
