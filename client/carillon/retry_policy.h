// Decides whether and when a failed call is repeated.
#pragma once

#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/carillon/options.h"

namespace carillon {

// An even draw from (0, 1]. Must be thread-safe if those who hold it share it.
using Jitter = std::function<double()>;

// Draws from a generator of the calling thread.
double RandomJitter();

// Exponential backoff with full jitter, so that many who failed together do not
// come back together. Not thread-safe.
class JitteredBackoff {
 public:
  JitteredBackoff(absl::Duration initial, absl::Duration max, Jitter jitter = RandomJitter);

  // The next delay, in (0, min(max, initial * 2^n)] after n calls since Reset.
  absl::Duration Next();
  void Reset() { ceiling_ = initial_; }

 private:
  const absl::Duration initial_;
  const absl::Duration max_;
  const Jitter jitter_;
  absl::Duration ceiling_;
};

// One call's attempts. Not thread-safe.
class RetryPolicy {
 public:
  // `repeatable`: the call is a read, or carries an idempotency key.
  RetryPolicy(const RetryOptions& options, bool repeatable, Jitter jitter = RandomJitter);

  // After an attempt failed, `elapsed` after the first began: how long to wait
  // before the next, or nullopt to give up. Never sooner than the server asks.
  std::optional<absl::Duration> DelayAfter(const absl::Status& status, absl::Duration elapsed);

 private:
  bool IsWorthRepeating(const absl::Status& status) const;

  const RetryOptions options_;
  const bool repeatable_;
  JitteredBackoff backoff_;
  int attempts_ = 0;
};

}  // namespace carillon
