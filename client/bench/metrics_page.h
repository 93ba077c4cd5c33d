// Reads the /metrics page of a process of the system.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace carillon::bench {

// The page at http://IPV4:port/path. Blocks for a few seconds at most.
absl::StatusOr<std::string> FetchMetrics(const std::string& url);

// The sum of all series of a metric whose labels hold this text, such as
// outcome="confirmed"; 0 if there is none.
double SumOf(absl::string_view page, absl::string_view metric, absl::string_view label = "");

// As SumOf, of the page at this address.
absl::StatusOr<double> MetricOf(const std::string& url, absl::string_view metric, absl::string_view label = "");
// Waits until it is at least this much, looking every 20 ms. The last value that was seen.
absl::StatusOr<double> WaitForMetric(const std::string& url, absl::string_view metric, absl::string_view label,
                                     double least, absl::Duration timeout);

// The address of a part's page, as a local system tells it (CARILLON_METRICS_*);
// empty if it does not.
std::string MetricsUrlOf(const std::string& part);

}  // namespace carillon::bench
