#include "workers/relay/topology_owner.h"

#include "carillon/domain/backoff.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {
constexpr absl::Duration kInterval = absl::Seconds(10);
}

TopologyOwner::TopologyOwner(std::unique_ptr<TopologyAdmin> broker, Metrics& metrics, const StopSignal& stop)
    : broker_(std::move(broker)),
      stop_(stop),
      mismatch_(metrics.Gauge("carillon_topology_mismatch",
                              "1 while the broker holds an exchange or queue with other properties than ours")) {}

void TopologyOwner::Run() {
  Backoff backoff(absl::Milliseconds(200), absl::Seconds(3));
  absl::Status last = absl::UnknownError("not declared yet");
  while (!stop_.is_set()) {
    const absl::Status status = broker_->Declare(CarillonTopology());
    // Said once per change, not every ten seconds.
    if (status != last) {
      if (status.ok()) log::Info("topology.declared", {{"queues", CarillonTopology().queues.size()}});
      if (absl::IsFailedPrecondition(status)) log::Error("topology.mismatch", {{"error", status}});
      if (!status.ok() && !absl::IsFailedPrecondition(status)) log::Warn("topology.waiting", {{"error", status}});
    }
    last = status;
    mismatch_.Set(absl::IsFailedPrecondition(status) ? 1 : 0);
    const bool answered = status.ok() || absl::IsFailedPrecondition(status);
    if (answered) backoff.Reset();
    if (stop_.WaitFor(answered ? kInterval : backoff.Next())) return;
  }
}

}  // namespace carillon
