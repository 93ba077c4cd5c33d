#include "carillon/redis/live_publisher.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/redis/channels.h"

namespace carillon {
namespace {

constexpr absl::Duration kPauseAfterFailure = absl::Seconds(1);

absl::Status AppendAll(absl::Span<const LiveMessage> messages, RedisConnection* connection) {
  for (const LiveMessage& message : messages) {
    const std::string channel = NotifyChannel(message.key);
    RETURN_IF_ERROR(connection->Append({"PUBLISH", channel, message.payload}));
  }
  return absl::OkStatus();
}

// Every reply is read, so that a refused message leaves the connection in step.
absl::Status ReadAll(size_t count, RedisDeadline deadline, RedisConnection* connection) {
  absl::Status first_refusal;
  for (size_t i = 0; i < count; ++i) {
    const absl::StatusOr<RedisReplyPtr> reply = connection->Read(deadline);
    if (absl::IsFailedPrecondition(reply.status())) {
      first_refusal.Update(reply.status());
    } else if (!reply.ok()) {
      return reply.status();
    } else if (*reply == nullptr) {
      return absl::DeadlineExceededError("redis: no reply in time");
    }
  }
  return first_refusal;
}

}  // namespace

absl::Status RedisLivePublisher::Publish(absl::Span<const LiveMessage> messages) {
  if (messages.empty()) return absl::OkStatus();
  const RedisDeadline deadline = RedisDeadline::After(options_.command_timeout);
  RETURN_IF_ERROR(Acquire(deadline));
  const bool reused = connection_.has_value();
  absl::Status status = PublishOnce(messages, deadline);
  // A connection that was idle may have died unnoticed: one more, fresh attempt.
  if (reused && absl::IsUnavailable(status) && !deadline.passed()) status = PublishOnce(messages, deadline);
  Release(/*failed=*/!status.ok());
  return status;
}

absl::Status RedisLivePublisher::Acquire(RedisDeadline deadline) {
  absl::MutexLock lock(&mutex_);
  const auto free_or_suspect = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !in_use_ || suspect_; };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&free_or_suspect), deadline.remaining())) {
    return error::BackendUnavailable("redis", "the connection is busy");
  }
  if (suspect_ && (in_use_ || !next_attempt_.passed())) return error::BackendUnavailable("redis", "not connected");
  in_use_ = true;
  return absl::OkStatus();
}

void RedisLivePublisher::Release(bool failed) {
  absl::MutexLock lock(&mutex_);
  in_use_ = false;
  suspect_ = failed;
  if (failed) next_attempt_ = RedisDeadline::After(kPauseAfterFailure);
}

absl::Status RedisLivePublisher::PublishOnce(absl::Span<const LiveMessage> messages, RedisDeadline deadline) {
  if (!connection_.has_value()) {
    ASSIGN_OR_RETURN(connection_, RedisConnection::Open(options_, deadline));
  }
  absl::Status status = AppendAll(messages, &*connection_);
  if (status.ok()) status = connection_->Flush(deadline);
  if (status.ok()) status = ReadAll(messages.size(), deadline, &*connection_);
  if (!status.ok()) connection_.reset();
  return status;
}

}  // namespace carillon
