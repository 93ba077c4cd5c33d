// How much apps and their senders send: is there room for more, and has one run away?
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/send_rates.h"

namespace carillon {

// Rates are those of the generic cell rate algorithm: a second gives room for `rate`
// places, and room for `burst` is kept at most. Thread-safe.
class RateLimiter {
 public:
  virtual ~RateLimiter() = default;

  // Of each request takes a place of the app and of the sender for every notification,
  // or, where one of the rates has no room, none at all. Answers in order. Blocks for a
  // bounded time; after an error places may have been taken.
  virtual absl::StatusOr<std::vector<RateAnswer>> Take(absl::Span<const RateRequest> requests) = 0;
};

}  // namespace carillon
