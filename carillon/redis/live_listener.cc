#include "carillon/redis/live_listener.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/backoff.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/status_macros.h"
#include "carillon/internal/v1/envelope.pb.h"
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

bool IsSubscription(const redisReply& reply) {
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements < 3) return false;
  const absl::string_view kind = Text(reply.element[0]);
  return kind == "subscribe" || kind == "psubscribe";
}

}  // namespace

RedisLiveListener::RedisLiveListener(RedisOptions redis, Options options)
    : redis_(std::move(redis)),
      options_(std::move(options)),
      server_channel_(ServerChannel(options_.server)),
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
  RedisDeadline dead = RedisDeadline::After(2.5 * options_.heartbeat_interval);
  while (!stop_.is_set()) {
    if (next_heartbeat.passed()) {
      next_heartbeat = RedisDeadline::After(options_.heartbeat_interval);
      SendHeartbeat();
    }
    ASSIGN_OR_RETURN(const RedisReplyPtr reply, connection.Read(RedisDeadline::After(kReadSlice)));
    if (reply != nullptr && HandleReply(*reply)) dead = RedisDeadline::After(2.5 * options_.heartbeat_interval);
    if (dead.passed()) return error::BackendUnavailable("redis", "heartbeats do not come back");
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisConnection> RedisLiveListener::Subscribe() {
  const RedisDeadline deadline = RedisDeadline::After(redis_.connect_timeout + redis_.command_timeout);
  ASSIGN_OR_RETURN(RedisConnection connection, RedisConnection::Open(redis_, deadline));
  constexpr int kSubscriptions = 4;
  RETURN_IF_ERROR(connection.Append({"SUBSCRIBE", heartbeat_channel_, server_channel_, kSharedEventChannel}));
  RETURN_IF_ERROR(connection.Append({"PSUBSCRIBE", kNotifyPattern}));
  RETURN_IF_ERROR(connection.Flush(deadline));
  for (int confirmed = 0; confirmed < kSubscriptions;) {
    ASSIGN_OR_RETURN(const RedisReplyPtr reply, connection.Read(deadline));
    if (reply == nullptr) return absl::DeadlineExceededError("redis: no reply in time");
    // Messages come between the confirmations.
    if (IsSubscription(*reply)) {
      ++confirmed;
    } else {
      HandleReply(*reply);
    }
  }
  return connection;
}

bool RedisLiveListener::HandleReply(const redisReply& reply) {
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements < 3) return false;
  const absl::string_view kind = Text(reply.element[0]);
  if (kind == "pmessage" && reply.elements == 4) HandleBroadcast(Text(reply.element[2]), Text(reply.element[3]));
  if (kind != "message") return false;
  const absl::string_view channel = Text(reply.element[1]);
  if (channel == server_channel_) HandleBatch(Text(reply.element[2]));
  if (channel == kSharedEventChannel) HandleSharedEvent(Text(reply.element[2]));
  return channel == heartbeat_channel_;
}

// What can't be read is dropped: the sweep finds what it told of.
void RedisLiveListener::HandleBatch(absl::string_view payload) {
  internal::v1::LiveBatch batch;
  if (!batch.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return;
  for (internal::v1::LiveEntry& entry : *batch.mutable_entries()) {
    FeedKey key{.app = AppId(entry.app_id()), .recipient = RecipientId(std::move(*entry.mutable_recipient_id()))};
    Deliver(LiveRouting::kDirected, {.key = std::move(key), .payload = std::move(*entry.mutable_update())});
  }
}

void RedisLiveListener::HandleBroadcast(absl::string_view channel, absl::string_view payload) {
  std::optional<FeedKey> key = ParseNotifyChannel(channel);
  if (!key.has_value()) return;
  Deliver(LiveRouting::kBroadcast, {.key = *std::move(key), .payload = std::string(payload)});
}

void RedisLiveListener::HandleSharedEvent(absl::string_view payload) {
  int64_t app = 0;
  if (absl::SimpleAtoi(payload, &app) && callbacks_.on_shared_event) callbacks_.on_shared_event(AppId(app));
}

void RedisLiveListener::Deliver(LiveRouting routing, LiveMessage message) {
  if (options_.on_received) options_.on_received(routing, 1);
  callbacks_.on_message(std::move(message));
}

void RedisLiveListener::SendHeartbeat() {
  const RedisDeadline deadline = RedisDeadline::After(redis_.command_timeout);
  if (!heartbeat_connection_.has_value()) {
    absl::StatusOr<RedisConnection> connection = RedisConnection::Open(redis_, deadline);
    if (!connection.ok()) return;
    heartbeat_connection_ = *std::move(connection);
  }
  if (!heartbeat_connection_->Call({"PUBLISH", heartbeat_channel_, ""}, deadline).ok()) heartbeat_connection_.reset();
}

}  // namespace carillon
