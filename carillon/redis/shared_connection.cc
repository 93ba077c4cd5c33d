#include "carillon/redis/shared_connection.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

constexpr absl::Duration kPauseAfterFailure = absl::Seconds(1);

}  // namespace

absl::Status SharedRedisConnection::With(Use use) {
  const RedisDeadline deadline = RedisDeadline::After(options_.command_timeout);
  RETURN_IF_ERROR(Acquire(deadline));
  const bool reused = connection_.has_value();
  absl::Status status = Attempt(use, deadline);
  // A connection that was idle may have died unnoticed: one more, fresh attempt.
  if (reused && absl::IsUnavailable(status) && !deadline.passed()) status = Attempt(use, deadline);
  Release(/*failed=*/!status.ok());
  return status;
}

absl::Status SharedRedisConnection::Attempt(Use use, RedisDeadline deadline) {
  if (!connection_.has_value()) {
    ASSIGN_OR_RETURN(connection_, RedisConnection::Open(options_, deadline));
  }
  const absl::Status status = use(*connection_, deadline);
  if (!status.ok()) connection_.reset();
  return status;
}

absl::Status SharedRedisConnection::Acquire(RedisDeadline deadline) {
  absl::MutexLock lock(&mutex_);
  const auto free_or_suspect = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !in_use_ || suspect_; };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&free_or_suspect), deadline.remaining())) {
    return error::BackendUnavailable("redis", "the connection is busy");
  }
  if (suspect_ && (in_use_ || !next_attempt_.passed())) return error::BackendUnavailable("redis", "not connected");
  in_use_ = true;
  return absl::OkStatus();
}

void SharedRedisConnection::Release(bool failed) {
  absl::MutexLock lock(&mutex_);
  in_use_ = false;
  suspect_ = failed;
  if (failed) next_attempt_ = RedisDeadline::After(kPauseAfterFailure);
}

}  // namespace carillon
