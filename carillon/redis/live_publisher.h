// Publishes wake-ups over Redis pub/sub.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/live_bus.h"
#include "carillon/redis/connection.h"
#include "carillon/redis/options.h"

namespace carillon {

// Directed: one round trip asks where the feeds have streams, a second sends each
// of these servers what it needs, in one message. Feeds whose presence Redis does
// not tell are broadcast.
//
// One connection, opened when first needed and after failures. Thread-safe.
// Blocks at most for the command timeout; while Redis does not answer, one caller
// a second pays that, the others fail at once.
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
  using Use = absl::FunctionRef<absl::Status(RedisConnection&, RedisDeadline)>;

  // Lends the connection, a fresh one if that which was idle has died.
  absl::Status WithConnection(Use use);
  absl::Status Attempt(Use use, RedisDeadline deadline);
  // Takes the connection, or the right to open one, when it is free.
  absl::Status Acquire(RedisDeadline deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(bool failed) ABSL_LOCKS_EXCLUDED(mutex_);

  void Count(LiveRouting routing, size_t updates) const;

  const RedisOptions redis_;
  const Clock& clock_;
  const Options options_;

  absl::Mutex mutex_;
  bool in_use_ ABSL_GUARDED_BY(mutex_) = false;
  // The last use failed: nobody waits for the one who tries again.
  bool suspect_ ABSL_GUARDED_BY(mutex_) = false;
  RedisDeadline next_attempt_ ABSL_GUARDED_BY(mutex_) = RedisDeadline::After(absl::ZeroDuration());

  // Belongs to the caller that has set in_use_.
  std::optional<RedisConnection> connection_;
};

}  // namespace carillon
