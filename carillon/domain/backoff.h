// Exponential backoff with full jitter: the delay before attempt n is drawn
// evenly from (0, min(max, base * 2^n)], so that many who failed together do
// not come back together. Not thread-safe.
#pragma once

#include <random>

#include "absl/time/time.h"

namespace carillon {

class Backoff {
 public:
  Backoff(absl::Duration base, absl::Duration max) : base_(base), max_(max), random_(std::random_device{}()) {}

  // The next delay; grows until Reset.
  absl::Duration Next();
  void Reset() { failures_ = 0; }
  int failures() const { return failures_; }

 private:
  const absl::Duration base_;
  const absl::Duration max_;
  std::mt19937_64 random_;
  int failures_ = 0;
};

}  // namespace carillon
