// Tells what a worker's meters show, once a second while anything moves and every few
// seconds while nothing does. What can't be told is told the next time.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "carillon/ports/pressure_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/queue_meters.h"

namespace carillon {

class QueueReporter {
 public:
  // `process` names this start of the process. The meters must outlive it.
  QueueReporter(std::shared_ptr<PressureStore> store, QueueMeters& meters, std::string process);
  ~QueueReporter() { Stop(); }

  void Start();
  // Tells the last of it. Idempotent.
  void Stop();

  // What the thread does each second. Owner thread only, while it does not run.
  void Tell();

 private:
  const std::shared_ptr<PressureStore> store_;
  QueueMeters& meters_;
  const std::string process_;
  std::vector<QueueReport> told_;
  int silent_rounds_ = 0;
  bool fails_ = false;
  StopSignal stop_;
  std::thread thread_;
};

}  // namespace carillon
