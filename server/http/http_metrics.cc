#include "server/http/http_metrics.h"

#include "absl/strings/str_cat.h"

namespace carillon {

HttpMetrics::HttpMetrics(Metrics& metrics)
    : metrics_(metrics),
      connections_(metrics.Gauge("carillon_http_connections", "Open connections of the HTTP port")),
      streams_(metrics.Gauge("carillon_http_streams", "Open streams of the HTTP port")),
      refused_(metrics.Counter("carillon_http_connections_refused_total",
                               "Connections closed because there were too many")) {}

void HttpMetrics::Count(absl::string_view route, int status) {
  prometheus::Counter* counter = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    prometheus::Counter*& known = requests_[{std::string(route), status}];
    if (known == nullptr) {
      known = &metrics_.Counter("carillon_http_requests_total", "HTTP requests by route and status",
                                {{"route", std::string(route)}, {"code", absl::StrCat(status)}});
    }
    counter = known;
  }
  counter->Increment();
}

}  // namespace carillon
