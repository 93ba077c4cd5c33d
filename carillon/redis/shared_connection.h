// A connection to Redis that several threads share.
#pragma once

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "carillon/redis/connection.h"
#include "carillon/redis/options.h"

namespace carillon {

// Opened when first needed and after failures. Thread-safe. Blocks at most for the
// command timeout; while Redis does not answer, one caller a second pays that, the
// others fail at once.
class SharedRedisConnection {
 public:
  explicit SharedRedisConnection(RedisOptions options) : options_(std::move(options)) {}

  using Use = absl::FunctionRef<absl::Status(RedisConnection&, RedisDeadline)>;
  // Lends the connection, a fresh one if that which was idle has died: then the use is
  // called a second time.
  absl::Status With(Use use);

 private:
  absl::Status Attempt(Use use, RedisDeadline deadline);
  // Takes the connection, or the right to open one, when it is free.
  absl::Status Acquire(RedisDeadline deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(bool failed) ABSL_LOCKS_EXCLUDED(mutex_);

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
