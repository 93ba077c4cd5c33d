#include "client/carillon/retry_policy.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "client/carillon/status.h"

namespace carillon {

double RandomJitter() {
  thread_local absl::BitGen generator;
  return absl::Uniform(absl::IntervalOpenClosed, generator, 0.0, 1.0);
}

JitteredBackoff::JitteredBackoff(absl::Duration initial, absl::Duration max, Jitter jitter)
    : initial_(initial), max_(max), jitter_(std::move(jitter)), ceiling_(initial) {}

absl::Duration JitteredBackoff::Next() {
  const absl::Duration ceiling = std::min(ceiling_, max_);
  ceiling_ = std::min(ceiling * 2, max_);
  return ceiling * jitter_();
}

RetryPolicy::RetryPolicy(const RetryOptions& options, bool repeatable, Jitter jitter)
    : options_(options),
      repeatable_(repeatable),
      backoff_(options.initial_backoff, options.max_backoff, std::move(jitter)) {}

std::optional<absl::Duration> RetryPolicy::DelayAfter(const absl::Status& status, absl::Duration elapsed) {
  ++attempts_;
  if (!repeatable_ || attempts_ >= options_.max_attempts || !IsWorthRepeating(status)) return std::nullopt;
  // The jitter comes on top: everybody was told the same delay.
  const absl::Duration delay = RetryDelayOf(status).value_or(absl::ZeroDuration()) + backoff_.Next();
  if (elapsed + delay >= options_.total_time) return std::nullopt;
  return delay;
}

bool RetryPolicy::IsWorthRepeating(const absl::Status& status) const {
  if (absl::IsResourceExhausted(status) && RetryDelayOf(status).has_value()) return true;
  return options_.codes.contains(status.code());
}

}  // namespace carillon
