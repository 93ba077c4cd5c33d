// Tells in metrics how the database stands: how far ahead partitions exist, what the
// outbox takes up, what holds vacuum back.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/ports/storage_monitor.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Owner thread only. It has a thread of its own: that housekeeping stands still must not
// keep anybody from seeing what comes of it.
class StorageMeter {
 public:
  struct Deps {
    std::unique_ptr<StorageMonitor> monitor;
    const Clock& clock;
    Metrics& metrics;
    const StopSignal& stop;
  };

  explicit StorageMeter(Deps deps);

  // Until stop, every few seconds.
  void Run();
  // Once. On an error the metrics stay as they were, and so does the time of the sample.
  absl::Status Measure();

 private:
  const Deps deps_;
  prometheus::Gauge& sample_time_;
};

}  // namespace carillon
