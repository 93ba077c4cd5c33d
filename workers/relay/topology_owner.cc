#include "workers/relay/topology_owner.h"

#include "carillon/domain/backoff.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {
constexpr absl::Duration kInterval = absl::Seconds(10);
}

TopologyOwner::TopologyOwner(Deps deps)
    : deps_(std::move(deps)),
      mismatch_(deps_.metrics.Gauge("carillon_topology_mismatch",
                                    "1 while the broker holds an exchange or queue with other properties than ours")),
      ready_(deps_.metrics.Gauge("carillon_ready", "1 once this process does its work")) {}

void TopologyOwner::Run() {
  Backoff backoff(absl::Milliseconds(200), absl::Seconds(3));
  while (!deps_.stop.is_set()) {
    const absl::Status status = deps_.broker->Declare(CarillonTopology());
    Report(status);
    const bool answered = status.ok() || absl::IsFailedPrecondition(status);
    if (answered) {
      backoff.Reset();
      ready_.Set(1);
      if (!deps_.declared.HasBeenNotified()) deps_.declared.Notify();
    }
    if (deps_.stop.WaitFor(answered ? kInterval : backoff.Next())) return;
  }
}

// Says each change once, not every ten seconds.
void TopologyOwner::Report(const absl::Status& status) {
  mismatch_.Set(absl::IsFailedPrecondition(status) ? 1 : 0);
  if (status == last_) return;
  last_ = status;
  if (status.ok()) {
    log::Info("topology.declared", {{"queues", CarillonTopology().queues.size()}});
  } else if (absl::IsFailedPrecondition(status)) {
    log::Error("topology.mismatch", {{"error", status}});
  } else {
    log::Warn("topology.waiting", {{"error", status}});
  }
}

}  // namespace carillon
