#include "workers/delivery/breaker.h"

#include <algorithm>
#include <bit>

namespace carillon {
namespace {

constexpr uint32_t kWindowMask = (1u << Breaker::kWindow) - 1;
// Fewer tell nothing of a share.
constexpr int kMinSeen = 10;

}  // namespace

bool Breaker::WouldAllow(absl::Time now) const {
  if (state_ == BreakerState::kClosed) return true;
  return state_ == BreakerState::kOpen && retry_time_.has_value() && *retry_time_ <= now;
}

bool Breaker::Allow(absl::Time now) {
  if (!WouldAllow(now)) return false;
  if (state_ == BreakerState::kOpen) state_ = BreakerState::kHalfOpen;
  return true;
}

bool Breaker::OnSuccess(absl::Time) {
  Note(/*failed=*/false);
  in_a_row_ = 0;
  // A call from before it opened says nothing of now.
  if (state_ == BreakerState::kOpen) return false;
  const bool changed = state_ != BreakerState::kClosed;
  state_ = BreakerState::kClosed;
  open_for_ = options_.first_open;
  retry_time_.reset();
  misconfigured_ = false;
  if (changed) recent_ = 0, seen_ = 0;
  error_.clear();
  return changed;
}

bool Breaker::OnFailure(absl::Time now, absl::string_view error) {
  Note(/*failed=*/true);
  ++in_a_row_;
  if (state_ == BreakerState::kOpen) return false;
  const bool half_failed = seen_ >= kMinSeen && std::popcount(recent_) * 2 >= std::min(seen_, kWindow);
  if (state_ == BreakerState::kHalfOpen || in_a_row_ >= options_.failures_in_a_row || half_failed) {
    return Trip(now, error);
  }
  return false;
}

bool Breaker::Trip(absl::Time now, absl::string_view error) {
  const absl::Duration time = open_for_;
  open_for_ = std::min(open_for_ * 2, options_.longest_open);
  return Open(now + time, error);
}

bool Breaker::OnMisconfigured(absl::Time now, absl::string_view error, std::optional<absl::Duration> pause) {
  misconfigured_ = true;
  return Open(now + pause.value_or(options_.misconfigured_open), error);
}

bool Breaker::OnRetryAfter(absl::Time now, absl::Duration time, absl::string_view error) {
  const absl::Time until = now + std::clamp(time, absl::Seconds(1), absl::Hours(1));
  if (state_ == BreakerState::kOpen && retry_time_.has_value() && *retry_time_ >= until) return false;
  return Open(until, error);
}

void Breaker::OnNothingLearned(absl::Time now) {
  if (state_ != BreakerState::kHalfOpen) return;
  state_ = BreakerState::kOpen;
  retry_time_ = now;
}

void Breaker::Restore(const ProviderHealth& health) {
  if (health.breaker == BreakerState::kClosed) return;
  state_ = BreakerState::kOpen;
  retry_time_ = health.retry_time.value_or(health.since);
  misconfigured_ = health.misconfigured;
  error_ = health.error;
}

bool Breaker::Open(absl::Time until, absl::string_view error) {
  state_ = BreakerState::kOpen;
  retry_time_ = until;
  error_ = std::string(error);
  return true;
}

void Breaker::Note(bool failed) {
  recent_ = ((recent_ << 1) | (failed ? 1u : 0u)) & kWindowMask;
  seen_ = std::min(seen_ + 1, kWindow);
}

}  // namespace carillon
