#include "carillon/redis/live_listener.h"

#include "carillon/domain/backoff.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/status_macros.h"
#include "carillon/redis/channels.h"

namespace carillon {
namespace {

// How long Stop may have to wait for the thread to look up.
constexpr absl::Duration kReadSlice = absl::Milliseconds(100);
constexpr absl::Duration kBackoffBase = absl::Milliseconds(100);
constexpr absl::Duration kBackoffMax = absl::Seconds(2);

absl::string_view Text(const redisReply* reply) {
  return reply->type == REDIS_REPLY_STRING ? absl::string_view(reply->str, reply->len) : absl::string_view();
}

}  // namespace

RedisLiveListener::RedisLiveListener(RedisOptions options, absl::Duration heartbeat_interval)
    : options_(std::move(options)),
      heartbeat_interval_(heartbeat_interval),
      heartbeat_channel_(absl::StrCat("carillon:heartbeat:", NewUuid7(absl::UnixEpoch()).ToString())) {}

void RedisLiveListener::Start(Callbacks callbacks) {
  callbacks_ = std::move(callbacks);
  thread_ = std::thread([this] { Run(); });
}

void RedisLiveListener::Stop() {
  if (stop_called_) return;
  stop_called_ = true;
  stop_.Set();
  if (thread_.joinable()) thread_.join();
}

void RedisLiveListener::Run() {
  Backoff backoff(kBackoffBase, kBackoffMax);
  while (!stop_.is_set()) {
    Listen().IgnoreError();  // Whatever it was, the answer is to connect again.
    if (connected_.exchange(false)) backoff.Reset();
    stop_.WaitFor(backoff.Next());
  }
}

absl::Status RedisLiveListener::Listen() {
  ASSIGN_OR_RETURN(RedisConnection connection, Subscribe());
  connected_ = true;
  callbacks_.on_connected();
  RedisDeadline next_heartbeat = RedisDeadline::After(absl::ZeroDuration());
  RedisDeadline dead = RedisDeadline::After(2.5 * heartbeat_interval_);
  while (!stop_.is_set()) {
    if (next_heartbeat.passed()) {
      next_heartbeat = RedisDeadline::After(heartbeat_interval_);
      SendHeartbeat();
    }
    ASSIGN_OR_RETURN(const RedisReplyPtr reply, connection.Read(RedisDeadline::After(kReadSlice)));
    if (reply != nullptr && HandleReply(*reply)) dead = RedisDeadline::After(2.5 * heartbeat_interval_);
    if (dead.passed()) return error::BackendUnavailable("redis", "heartbeats do not come back");
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisConnection> RedisLiveListener::Subscribe() {
  const RedisDeadline deadline = RedisDeadline::After(options_.connect_timeout + options_.command_timeout);
  ASSIGN_OR_RETURN(RedisConnection connection, RedisConnection::Open(options_, deadline));
  RETURN_IF_ERROR(connection.Call({"SUBSCRIBE", heartbeat_channel_}, deadline).status());
  RETURN_IF_ERROR(connection.Call({"PSUBSCRIBE", kNotifyPattern}, deadline).status());
  return connection;
}

bool RedisLiveListener::HandleReply(const redisReply& reply) {
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements < 3) return false;
  const absl::string_view kind = Text(reply.element[0]);
  if (kind == "message") return Text(reply.element[1]) == heartbeat_channel_;
  if (kind != "pmessage" || reply.elements != 4) return false;
  std::optional<FeedKey> key = ParseNotifyChannel(Text(reply.element[2]));
  if (!key.has_value()) return false;
  callbacks_.on_message({.key = *std::move(key), .payload = std::string(Text(reply.element[3]))});
  return false;
}

void RedisLiveListener::SendHeartbeat() {
  const RedisDeadline deadline = RedisDeadline::After(options_.command_timeout);
  if (!heartbeat_connection_.has_value()) {
    absl::StatusOr<RedisConnection> connection = RedisConnection::Open(options_, deadline);
    if (!connection.ok()) return;
    heartbeat_connection_ = *std::move(connection);
  }
  if (!heartbeat_connection_->Call({"PUBLISH", heartbeat_channel_, ""}, deadline).ok()) heartbeat_connection_.reset();
}

}  // namespace carillon
