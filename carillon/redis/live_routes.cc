#include "carillon/redis/live_routes.h"

#include "absl/strings/numbers.h"
#include "carillon/domain/status_macros.h"
#include "carillon/redis/channels.h"

namespace carillon {
namespace {

// An hour late is no late heartbeat. The hash of a feed that always has a stream
// somewhere never expires as a whole, so these have to be taken out of it.
constexpr absl::Duration kGoneAfter = absl::Hours(1);

absl::string_view Text(const redisReply& reply) {
  return reply.type == REDIS_REPLY_STRING ? absl::string_view(reply.str, reply.len) : absl::string_view();
}

// A hash: fields and values take turns.
void ReadServers(const redisReply& hash, size_t index, absl::Time now, LiveRoutes& routes) {
  if (hash.type != REDIS_REPLY_ARRAY) return;
  for (size_t i = 0; i + 1 < hash.elements; i += 2) {
    int64_t expiry_ms = 0;
    if (!absl::SimpleAtoi(Text(*hash.element[i + 1]), &expiry_ms)) continue;
    const absl::Time expiry = absl::FromUnixMillis(expiry_ms);
    const LiveRoute route{.index = index, .server = std::string(Text(*hash.element[i]))};
    if (expiry > now) {
      routes.routes.push_back(route);
    } else if (expiry < now - kGoneAfter) {
      routes.remains.push_back(route);
    }
  }
}

}  // namespace

absl::StatusOr<LiveRoutes> FindRoutes(absl::Span<const FeedKey> keys, absl::Time now, RedisDeadline deadline,
                                      RedisConnection& connection) {
  for (const FeedKey& key : keys) RETURN_IF_ERROR(connection.Append({"HGETALL", PresenceKey(key)}));
  RETURN_IF_ERROR(connection.Flush(deadline));
  LiveRoutes routes;
  for (size_t i = 0; i < keys.size(); ++i) {
    const absl::StatusOr<RedisReplyPtr> reply = connection.Read(deadline);
    if (absl::IsFailedPrecondition(reply.status())) {
      routes.unknown.push_back(i);
      continue;
    }
    RETURN_IF_ERROR(reply.status());
    if (*reply == nullptr) return absl::DeadlineExceededError("redis: no reply in time");
    ReadServers(**reply, i, now, routes);
  }
  return routes;
}

}  // namespace carillon
