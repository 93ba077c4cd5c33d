// Keeps the broker's topology as it should be: declares what is missing at the
// start and from time to time (a broker that lost its disk, a queue deleted by
// hand). What exists with other properties is an admin's decision: it is named in
// the log and in a metric, and everything else goes on.
#pragma once

#include <memory>

#include "absl/synchronization/notification.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Owner thread only.
class TopologyOwner {
 public:
  struct Deps {
    std::unique_ptr<TopologyAdmin> broker;
    Metrics& metrics;
    const StopSignal& stop;
    // Set when the broker has answered to the first declaration.
    absl::Notification& declared;
  };

  explicit TopologyOwner(Deps deps);

  // Until stop.
  void Run();

 private:
  void Report(const absl::Status& status);

  const Deps deps_;
  absl::Status last_ = absl::UnknownError("not declared yet");
  prometheus::Gauge& mismatch_;
  prometheus::Gauge& ready_;
};

}  // namespace carillon
