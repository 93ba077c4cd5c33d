// Where feeds have streams, as Redis tells it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/redis/connection.h"

namespace carillon {

// One server that holds streams of one of the feeds that were asked for.
struct LiveRoute {
  size_t index = 0;  // Of the feed.
  std::string server;
};

struct LiveRoutes {
  // By feed.
  std::vector<LiveRoute> routes;
  // Feeds of which Redis does not tell (LOADING, WRONGTYPE, NOPERM).
  std::vector<size_t> unknown;
  // Left behind by servers that are long gone.
  std::vector<LiveRoute> remains;
};

// Asks for all in one round trip. Expired entries are no routes.
absl::StatusOr<LiveRoutes> FindRoutes(absl::Span<const FeedKey> keys, absl::Time now, RedisDeadline deadline,
                                      RedisConnection& connection);

}  // namespace carillon
