#include "server/api/rpc_metrics.h"

#include <algorithm>

#include "absl/status/status.h"

namespace carillon {

void RpcMetrics::Count(absl::string_view method, int code) {
  prometheus::Counter* counter = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    counter = &CounterOf(method, code);
  }
  counter->Increment();
}

void RpcMetrics::Observe(absl::string_view method, int code, absl::Duration elapsed) {
  prometheus::Counter* counter = nullptr;
  prometheus::Histogram* seconds = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    counter = &CounterOf(method, code);
    Method& known = Of(method);
    if (known.seconds == nullptr) {
      known.seconds =
          &metrics_.Latency("carillon_rpc_seconds", "Time of an RPC on the server", {{"method", std::string(method)}});
    }
    seconds = known.seconds;
  }
  counter->Increment();
  seconds->Observe(absl::ToDoubleSeconds(elapsed));
}

RpcMetrics::Method& RpcMetrics::Of(absl::string_view method) { return methods_.try_emplace(method).first->second; }

prometheus::Counter& RpcMetrics::CounterOf(absl::string_view method, int code) {
  Method& known = Of(method);
  code = std::clamp<int>(code, 0, static_cast<int>(known.by_code.size()) - 1);
  prometheus::Counter*& counter = known.by_code[code];
  if (counter == nullptr) {
    counter = &metrics_.Counter(
        "carillon_rpc_total", "RPCs by method and status code",
        {{"method", std::string(method)}, {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(code))}});
  }
  return *counter;
}

}  // namespace carillon
