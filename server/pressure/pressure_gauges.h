// The newest look as metrics. Every server tells the same.
#pragma once

#include <map>
#include <string>

#include "carillon/runtime/metrics.h"
#include "server/pressure/objectives.h"
#include "server/pressure/pressure_sample.h"

namespace carillon {

// Of every queue of the topology and every lane, from the start.
class PressureGauges {
 public:
  PressureGauges(Metrics& metrics, const LaneObjectives& objectives);

  void Set(const PressureSample& sample);

 private:
  struct QueueGauges {
    prometheus::Gauge* messages;
    prometheus::Gauge* consumers;
    prometheus::Gauge* declared;
    prometheus::Gauge* oldest_age = nullptr;  // Of work queues.
  };
  struct LaneGauges {
    prometheus::Gauge* oldest_age;
    prometheus::Gauge* delayed;
    prometheus::Gauge* backlog;
    prometheus::Gauge* retrying;
  };

  std::map<std::string, QueueGauges> queues_;
  std::map<Lane, LaneGauges> lanes_;
  prometheus::Gauge& sample_time_;
  prometheus::Gauge& broker_up_;
};

}  // namespace carillon
