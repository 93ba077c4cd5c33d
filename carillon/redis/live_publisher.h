// Publishes wake-ups over Redis pub/sub.
#pragma once

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/live_bus.h"
#include "carillon/redis/connection.h"
#include "carillon/redis/options.h"

namespace carillon {

// One connection, opened when first needed and after failures. Thread-safe.
// Blocks at most for the command timeout; while Redis does not answer, one caller
// a second pays that, the others fail at once.
class RedisLivePublisher final : public LivePublisher {
 public:
  explicit RedisLivePublisher(RedisOptions options) : options_(std::move(options)) {}

  absl::Status Publish(absl::Span<const LiveMessage> messages) override;

 private:
  // Takes the connection, or the right to open one, when it is free.
  absl::Status Acquire(RedisDeadline deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(bool failed) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status PublishOnce(absl::Span<const LiveMessage> messages, RedisDeadline deadline);

  const RedisOptions options_;

  absl::Mutex mutex_;
  bool in_use_ ABSL_GUARDED_BY(mutex_) = false;
  // The last use failed: nobody waits for the one who tries again.
  bool suspect_ ABSL_GUARDED_BY(mutex_) = false;
  RedisDeadline next_attempt_ ABSL_GUARDED_BY(mutex_) = RedisDeadline::After(absl::ZeroDuration());

  // Belongs to the caller that has set in_use_.
  std::optional<RedisConnection> connection_;
};

}  // namespace carillon
