// Publishes wake-ups over Redis pub/sub.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "carillon/ports/clock.h"
#include "carillon/ports/live_bus.h"
#include "carillon/redis/options.h"
#include "carillon/redis/shared_connection.h"

namespace carillon {

// Directed: one round trip asks where the feeds have streams, a second sends each
// of these servers what it needs, in one message. Feeds whose presence Redis does
// not tell are broadcast.
//
// Thread-safe; see SharedRedisConnection for how long it may block.
class RedisLivePublisher final : public LivePublisher {
 public:
  struct Options {
    LiveRouting routing = LiveRouting::kDirected;
    // The server that this process is: it has been told already. Empty: none.
    std::string own_server;
    // How many updates were sent, to one server or to all; on the caller's thread.
    std::function<void(LiveRouting, size_t)> on_published;
  };

  // The clock must outlive it.
  RedisLivePublisher(RedisOptions redis, const Clock& clock, Options options)
      : redis_(std::move(redis)), clock_(clock), options_(std::move(options)) {}

  absl::Status Publish(absl::Span<const FeedKey> keys, absl::FunctionRef<std::string(size_t)> payload_of) override;
  absl::Status PublishSharedEvent(AppId app) override;

 private:
  void Count(LiveRouting routing, size_t updates) const;

  SharedRedisConnection redis_;
  const Clock& clock_;
  const Options options_;
};

}  // namespace carillon
