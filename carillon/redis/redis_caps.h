// Caps as sliding windows in Redis, on its clock.
#pragma once

#include <functional>
#include <vector>

#include "carillon/ports/cap_store.h"
#include "carillon/ports/clock.h"
#include "carillon/redis/options.h"
#include "carillon/redis/shared_connection.h"
#include "carillon/runtime/local_caps.h"

namespace carillon {

// One round trip for all requests of a call: a sorted set per recipient, channel and
// type, of the notifications by the time at which they were let in. What Redis lets in is
// remembered here, too, so that a process that loses Redis does not begin at nothing;
// what is let in without Redis is not known to it afterwards.
class RedisCaps final : public CapStore {
 public:
  struct Options {
    size_t max_local_windows = 100'000;
    std::function<void(size_t)> on_local;  // So many requests were answered without Redis.
  };
  // The clock must outlive it.
  RedisCaps(RedisOptions redis, const Clock& clock, Options options);

  std::vector<CapUse> Use(absl::Span<const Request> requests, Mode mode) override;

 private:
  absl::Status Ask(absl::Span<const Request> requests, Mode mode, std::vector<CapUse>& uses);

  SharedRedisConnection redis_;
  const Clock& clock_;
  const Options options_;
  LocalCaps local_;
};

}  // namespace carillon
