// Caps as sliding windows in Redis, on its clock.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "carillon/ports/cap_store.h"
#include "carillon/ports/clock.h"
#include "carillon/redis/options.h"
#include "carillon/redis/shared_connection.h"

namespace carillon {

// One round trip for all requests of a call: a sorted set
// carillon:cap:{app}:{channel}:{type}:{recipient} of the notifications by the time at
// which they were let in, in microseconds of the app's clock. It expires when the longest
// window is over.
class RedisCaps final : public SharedCapStore {
 public:
  // The clock, by which it says when there is room, must outlive it.
  RedisCaps(RedisOptions redis, const Clock& clock) : redis_(std::move(redis)), clock_(clock) {}

  std::vector<std::optional<CapUse>> Use(absl::Span<const CapStore::Request> requests, CapStore::Mode mode) override;

 private:
  SharedRedisConnection redis_;
  const Clock& clock_;
};

}  // namespace carillon
