// Keeps the broker's topology as it should be: declares what is missing at the
// start and from time to time (a broker that lost its disk, a queue deleted by
// hand). What exists with other properties is an admin's decision: it is named in
// the log and in a metric, and everything else goes on.
#pragma once

#include <memory>

#include "carillon/ports/broker.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Owner thread only.
class TopologyOwner {
 public:
  TopologyOwner(std::unique_ptr<TopologyAdmin> broker, Metrics& metrics, const StopSignal& stop);

  // Until stop.
  void Run();

 private:
  const std::unique_ptr<TopologyAdmin> broker_;
  const StopSignal& stop_;
  prometheus::Gauge& mismatch_;
};

}  // namespace carillon
