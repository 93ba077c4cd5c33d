#include "client/bench/figures.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace carillon::bench {
namespace {

// Figures of no more digits than they are good for.
double Rounded(double value) { return std::round(value * 10) / 10; }

void AppendLines(const std::string& name, const Json& value, std::string& text) {
  if (!value.is_structured()) {
    absl::StrAppendFormat(&text, "%-40s %s\n", name, value.is_string() ? value.get<std::string>() : value.dump());
    return;
  }
  for (const auto& [key, inner] : value.items()) {
    AppendLines(name.empty() ? key : absl::StrCat(name, ".", key), inner, text);
  }
}

}  // namespace

Percentiles PercentilesOf(std::vector<absl::Duration> durations) {
  if (durations.empty()) return {};
  std::sort(durations.begin(), durations.end());
  const auto at = [&](size_t per_mille) { return durations[(durations.size() * per_mille + 999) / 1000 - 1]; };
  return {at(500), at(950), at(990), at(999), durations.back()};
}

double RatePerSecond(int64_t count, absl::Duration time) {
  return time > absl::ZeroDuration() ? Rounded(static_cast<double>(count) / absl::ToDoubleSeconds(time)) : 0;
}

double Milliseconds(absl::Duration duration) {
  return static_cast<double>(absl::ToInt64Microseconds(duration)) / 1'000;
}

Json JsonOf(const Percentiles& times) {
  return {{"p50", Milliseconds(times.p50)},
          {"p95", Milliseconds(times.p95)},
          {"p99", Milliseconds(times.p99)},
          {"p99.9", Milliseconds(times.p999)},
          {"max", Milliseconds(times.max)}};
}

Json JsonOf(const Usage& usage, int64_t notifications) {
  const double divisor = static_cast<double>(std::max<int64_t>(notifications, 1)) / 1e6;
  Json cpu;
  for (const auto& [process, seconds] : usage.cpu_seconds) cpu[process] = Rounded(seconds / divisor);
  cpu["all"] = Rounded(usage.total_seconds() / divisor);
  Json document = {{"seconds", Rounded(absl::ToDoubleSeconds(usage.time))},
                   {"cpu_us_per_notification", cpu},
                   {"steal_percent", Rounded(usage.steal_percent)},
                   {"idle_percent", Rounded(usage.idle_percent)},
                   {"others_percent", Rounded(usage.others_percent)}};
  if (usage.cpu_seconds.size() <= 1) document["note"] = "CPU of the generator alone: --stack-dir was not given";
  return document;
}

std::string BoundOf(const Usage& usage) {
  // One thread that has no pause shows as a little less than a core.
  constexpr double kBusyPercent = 85, kIdlePercent = 10;
  const auto most = std::max_element(usage.cpu_seconds.begin(), usage.cpu_seconds.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == usage.cpu_seconds.end()) return "not known";
  const double percent = 100 * most->second / std::max(absl::ToDoubleSeconds(usage.time), 1e-9);
  const std::string share = absl::StrFormat("%s (%.0f %% of a core)", most->first, percent);
  if (usage.idle_percent < kIdlePercent) return absl::StrCat("all cores; most of them: ", share);
  return percent >= kBusyPercent ? share : absl::StrCat("waiting for answers; most CPU: ", share);
}

std::string TextOf(const Json& document) {
  std::string text;
  AppendLines("", document, text);
  return text;
}

}  // namespace carillon::bench
