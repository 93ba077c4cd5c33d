// The metrics of RPCs, looked up once a method.
#pragma once

#include <array>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe.
class RpcMetrics {
 public:
  explicit RpcMetrics(Metrics& metrics) : metrics_(metrics) {}

  // Counts a call that ended with this gRPC status code.
  void Count(absl::string_view method, int code);
  // Counts it, and the time it took.
  void Observe(absl::string_view method, int code, absl::Duration elapsed);

 private:
  // gRPC's codes are 0 to 16.
  struct Method {
    prometheus::Histogram* seconds = nullptr;
    std::array<prometheus::Counter*, 17> by_code{};
  };
  // Made when first needed: a series exists only for what has happened.
  Method& Of(absl::string_view method) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  prometheus::Counter& CounterOf(absl::string_view method, int code) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Metrics& metrics_;
  absl::Mutex mutex_;
  absl::node_hash_map<std::string, Method> methods_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
