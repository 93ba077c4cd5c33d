// What waits in the outbox, in metrics. Relays tell it, and servers too: while no relay
// can be asked it matters most.
#pragma once

#include <map>

#include "absl/types/span.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe.
class OutboxGauges {
 public:
  explicit OutboxGauges(Metrics& metrics);

  void Set(absl::Span<const OutboxStats> lanes) const;

 private:
  struct LaneGauges {
    prometheus::Gauge* rows;
    prometheus::Gauge* deferred;
    prometheus::Gauge* age_seconds;
  };

  std::map<Lane, LaneGauges> gauges_;
};

}  // namespace carillon
