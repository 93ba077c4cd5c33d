// Rates of apps and senders in Redis, on its clock, shared by all servers.
#pragma once

#include <string>
#include <vector>

#include "carillon/ports/rate_limiter.h"
#include "carillon/redis/options.h"
#include "carillon/redis/shared_connection.h"

namespace carillon {

// One key per rate, the moment at which all that was let in has had its time, and one
// per sender's minute; each goes by itself when it says nothing any more. All requests of
// a call are one round trip; two more where Redis does not know the script (yet).
// UNAVAILABLE, DEADLINE_EXCEEDED: Redis has not answered within the command timeout, or
// is away; then it is asked once a second, and other calls fail at once. Thread-safe.
class RedisRates final : public RateLimiter {
 public:
  explicit RedisRates(RedisOptions redis) : redis_(std::move(redis)) {}

  absl::StatusOr<std::vector<RateAnswer>> Take(absl::Span<const RateRequest> requests) override;

 private:
  SharedRedisConnection redis_;
};

}  // namespace carillon
