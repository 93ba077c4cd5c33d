#include "carillon/runtime/metrics.h"

#include <prometheus/exposer.h>

#include <exception>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"

namespace carillon {

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {}
Metrics::~Metrics() = default;

absl::StatusOr<std::string> Metrics::Serve(const std::string& address) {
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(address, /*num_threads=*/1);
    exposer_->RegisterCollectable(registry_);
    const std::string host = address.substr(0, address.rfind(':'));
    return absl::StrCat(host, ":", exposer_->GetListeningPorts().at(0));
  } catch (const std::exception& failure) {
    return absl::InvalidArgumentError(absl::StrCat("--metrics-address ", address, ": ", failure.what()));
  }
}

prometheus::Counter& Metrics::Counter(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Gauge& Metrics::Gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Histogram& Metrics::Latency(const std::string& name, const std::string& help, const Labels& labels) {
  static const prometheus::Histogram::BucketBoundaries kBuckets = {
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
  return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry_).Add(labels, kBuckets);
}

prometheus::Histogram& Metrics::EndToEnd(const std::string& name, const std::string& help, const Labels& labels) {
  // Fine where payment and otp are, and wide enough for a blast of marketing and for an outage.
  static const prometheus::Histogram::BucketBoundaries kBuckets = {
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600};
  return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry_).Add(labels, kBuckets);
}

}  // namespace carillon
