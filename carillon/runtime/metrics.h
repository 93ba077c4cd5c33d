// Prometheus metrics of this process, served at /metrics on a port of its own.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace prometheus {
class Exposer;
}

namespace carillon {

// Owns the registry and its port. Thread-safe. Metrics live as long as it does;
// look them up once and keep the reference: an increment is then one atomic add.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  // Serves on address (host:port; port 0: any). Returns host:port as bound.
  absl::StatusOr<std::string> Serve(const std::string& address);

  using Labels = std::map<std::string, std::string>;
  prometheus::Counter& Counter(const std::string& name, const std::string& help, const Labels& labels = {});
  prometheus::Gauge& Gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  // Seconds, from 100 µs to 60 s.
  prometheus::Histogram& Latency(const std::string& name, const std::string& help, const Labels& labels = {});
  // Seconds, from 1 ms to an hour: of what passes through queues.
  prometheus::Histogram& EndToEnd(const std::string& name, const std::string& help, const Labels& labels = {});

 private:
  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace carillon
