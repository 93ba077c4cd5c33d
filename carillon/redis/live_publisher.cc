#include "carillon/redis/live_publisher.h"

#include <map>
#include <optional>

#include "carillon/domain/status_macros.h"
#include "carillon/internal/v1/envelope.pb.h"
#include "carillon/redis/channels.h"
#include "carillon/redis/live_routes.h"

namespace carillon {
namespace {

// Of the updates in one message: what many need is not held up by its size.
constexpr size_t kMaxBatchBytes = 256 * 1024;

// Commands that are sent in one round trip.
class Commands {
 public:
  explicit Commands(RedisConnection& connection) : connection_(connection) {}

  absl::Status Add(absl::Span<const absl::string_view> words) {
    ++count_;
    return connection_.Append(words);
  }
  absl::Status Send(RedisDeadline deadline) {
    if (count_ == 0) return absl::OkStatus();
    RETURN_IF_ERROR(connection_.Flush(deadline));
    return connection_.ReadAndDrop(count_, deadline);
  }

 private:
  RedisConnection& connection_;
  size_t count_ = 0;
};

// What one server is sent.
class ServerBatch {
 public:
  absl::Status Add(const std::string& server, const FeedKey& key, const std::string& payload, Commands& commands) {
    if (bytes_ > 0 && bytes_ + payload.size() > kMaxBatchBytes) RETURN_IF_ERROR(Publish(server, commands));
    internal::v1::LiveEntry& entry = *batch_.add_entries();
    entry.set_app_id(key.app.value());
    entry.set_recipient_id(key.recipient.value());
    entry.set_update(payload);
    bytes_ += payload.size();
    return absl::OkStatus();
  }

  absl::Status Publish(const std::string& server, Commands& commands) {
    const absl::Status status = commands.Add({"PUBLISH", ServerChannel(server), batch_.SerializeAsString()});
    batch_.Clear();
    bytes_ = 0;
    return status;
  }

 private:
  internal::v1::LiveBatch batch_;
  size_t bytes_ = 0;
};

using PayloadOf = absl::FunctionRef<std::string(size_t)>;

absl::Status AppendBroadcasts(absl::Span<const size_t> indexes, absl::Span<const FeedKey> keys, PayloadOf payload_of,
                              Commands& commands) {
  for (const size_t i : indexes) {
    RETURN_IF_ERROR(commands.Add({"PUBLISH", NotifyChannel(keys[i]), payload_of(i)}));
  }
  return absl::OkStatus();
}

absl::Status AppendBatches(absl::Span<const LiveRoute> routes, absl::Span<const FeedKey> keys, PayloadOf payload_of,
                           Commands& commands) {
  std::map<std::string, ServerBatch> batches;
  std::optional<size_t> last;
  std::string payload;
  for (const LiveRoute& route : routes) {
    if (last != route.index) payload = payload_of(route.index);
    last = route.index;
    RETURN_IF_ERROR(batches[route.server].Add(route.server, keys[route.index], payload, commands));
  }
  for (auto& [server, batch] : batches) RETURN_IF_ERROR(batch.Publish(server, commands));
  return absl::OkStatus();
}

// A publisher that may not write there is none the worse.
absl::Status RemoveRemains(absl::Span<const LiveRoute> remains, absl::Span<const FeedKey> keys, RedisDeadline deadline,
                           RedisConnection& connection) {
  Commands commands(connection);
  for (const LiveRoute& route : remains) {
    RETURN_IF_ERROR(commands.Add({"HDEL", PresenceKey(keys[route.index]), route.server}));
  }
  const absl::Status status = commands.Send(deadline);
  return absl::IsFailedPrecondition(status) ? absl::OkStatus() : status;
}

}  // namespace

absl::Status RedisLivePublisher::Publish(absl::Span<const FeedKey> keys, PayloadOf payload_of) {
  if (keys.empty()) return absl::OkStatus();
  return redis_.With([&](RedisConnection& connection, RedisDeadline deadline) -> absl::Status {
    LiveRoutes found;
    if (options_.routing == LiveRouting::kDirected) {
      ASSIGN_OR_RETURN(found, FindRoutes(keys, clock_.Now(), deadline, connection));
      std::erase_if(found.routes, [this](const LiveRoute& route) { return route.server == options_.own_server; });
    } else {
      for (size_t i = 0; i < keys.size(); ++i) found.unknown.push_back(i);
    }
    Commands commands(connection);
    RETURN_IF_ERROR(AppendBatches(found.routes, keys, payload_of, commands));
    RETURN_IF_ERROR(AppendBroadcasts(found.unknown, keys, payload_of, commands));
    RETURN_IF_ERROR(commands.Send(deadline));
    Count(LiveRouting::kDirected, found.routes.size());
    Count(LiveRouting::kBroadcast, found.unknown.size());
    return RemoveRemains(found.remains, keys, deadline, connection);
  });
}

absl::Status RedisLivePublisher::PublishSharedEvent(AppId app) {
  return redis_.With([&](RedisConnection& connection, RedisDeadline deadline) {
    Commands commands(connection);
    RETURN_IF_ERROR(commands.Add({"PUBLISH", kSharedEventChannel, absl::StrCat(app.value())}));
    return commands.Send(deadline);
  });
}

void RedisLivePublisher::Count(LiveRouting routing, size_t updates) const {
  if (options_.on_published && updates > 0) options_.on_published(routing, updates);
}

}  // namespace carillon
