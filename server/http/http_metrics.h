// The metrics of the HTTP port.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe.
class HttpMetrics {
 public:
  explicit HttpMetrics(Metrics& metrics);

  // Counts an answer. `route` is one of a few: the path that leads to a handler.
  void Count(absl::string_view route, int status);

  prometheus::Gauge& connections() { return connections_; }
  // Answers whose bodies come over time, of those.
  prometheus::Gauge& streams() { return streams_; }
  // Closed at once, because there are as many as there may be.
  prometheus::Counter& refused() { return refused_; }

 private:
  Metrics& metrics_;
  prometheus::Gauge& connections_;
  prometheus::Gauge& streams_;
  prometheus::Counter& refused_;
  absl::Mutex mutex_;
  std::map<std::pair<std::string, int>, prometheus::Counter*> requests_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
