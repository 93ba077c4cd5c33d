#include "workers/relay/storage_meter.h"

#include <utility>

#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(3);

}  // namespace

// The time is told from the start, as 0: that nothing was ever measured is seen by it.
StorageMeter::StorageMeter(Deps deps)
    : deps_(std::move(deps)),
      sample_time_(deps_.metrics.Gauge("carillon_storage_sample_time_seconds",
                                       "Unix time at which the storage was measured; 0: never")) {}

void StorageMeter::Run() {
  bool failing = false;
  do {
    const absl::Status status = Measure();
    if (!status.ok() && !failing) log::Warn("storage.unmeasured", {{"error", status}});
    failing = !status.ok();
  } while (!deps_.stop.WaitFor(kInterval));
}

// The others are registered with the first sample: a gauge that nobody has set yet would
// say that no partition is there.
absl::Status StorageMeter::Measure() {
  ASSIGN_OR_RETURN(const StorageFigures figures, deps_.monitor->Measure());
  Metrics& metrics = deps_.metrics;
  for (const StorageFigures::Outbox& outbox : figures.outbox) {
    const Metrics::Labels lane = {{"lane", std::string(ToString(outbox.lane))}};
    metrics.Gauge("carillon_outbox_dead_tuples", "Deleted rows that vacuum has not taken yet", lane)
        .Set(static_cast<double>(outbox.dead_tuples));
    metrics.Gauge("carillon_outbox_bytes", "Size of the lane's outbox with its indexes", lane)
        .Set(static_cast<double>(outbox.bytes));
  }
  metrics.Gauge("carillon_partitions_ahead_seconds", "For so long every partitioned table has its partitions")
      .Set(absl::ToDoubleSeconds(figures.partitions_ahead));
  metrics.Gauge("carillon_database_oldest_transaction_seconds", "Age of what holds vacuum back")
      .Set(absl::ToDoubleSeconds(figures.oldest_transaction));
  sample_time_.Set(absl::ToDoubleSeconds(deps_.clock.Now() - absl::UnixEpoch()));
  return absl::OkStatus();
}

}  // namespace carillon
