#include "client/bench/metrics_page.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/bench/plain_http.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(20);

}  // namespace

absl::StatusOr<std::string> FetchMetrics(const std::string& url) { return AskOverHttp("GET", url); }

double SumOf(absl::string_view page, absl::string_view metric, absl::string_view label) {
  double sum = 0;
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    if (!absl::StartsWith(line, metric) || line.size() <= metric.size()) continue;
    if (line[metric.size()] != '{' && line[metric.size()] != ' ') continue;
    const size_t end = line.rfind(' ');
    double value = 0;
    if (!absl::StrContains(line.substr(0, end), label)) continue;
    if (absl::SimpleAtod(absl::StripAsciiWhitespace(line.substr(end + 1)), &value)) sum += value;
  }
  return sum;
}

absl::StatusOr<double> MetricOf(const std::string& url, absl::string_view metric, absl::string_view label) {
  const absl::StatusOr<std::string> page = FetchMetrics(url);
  if (!page.ok()) return page.status();
  return SumOf(*page, metric, label);
}

absl::StatusOr<double> WaitForMetric(const std::string& url, absl::string_view metric, absl::string_view label,
                                     double least, absl::Duration timeout) {
  const absl::Duration deadline = MonotonicNow() + timeout;
  while (true) {
    const absl::StatusOr<double> value = MetricOf(url, metric, label);
    if (value.ok() && *value >= least) return value;
    if (MonotonicNow() > deadline) {
      return value.ok() ? absl::DeadlineExceededError(absl::StrCat(metric, " stands at ", *value)) : value.status();
    }
    absl::SleepFor(kLook);
  }
}

std::string MetricsUrlOf(const std::string& part) {
  const std::string name = absl::StrCat("CARILLON_METRICS_", absl::AsciiStrToUpper(part));
  const char* url = std::getenv(absl::StrReplaceAll(name, {{"-", "_"}}).c_str());
  return url == nullptr ? "" : url;
}

}  // namespace carillon::bench
