#include "carillon/rabbitmq/connection.h"

#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/rabbitmq/error_mapping.h"
#include "carillon/rabbitmq/frames.h"

namespace carillon {
namespace {

constexpr int kMaxFrameBytes = 128 * 1024;
constexpr int kMaxChannels = 64;
constexpr absl::Duration kGoodbyeTimeout = absl::Seconds(1);
// For a few bytes that are owed to the broker outside of any call.
constexpr absl::Duration kControlSendTimeout = absl::Seconds(1);

amqp_table_entry_t TextEntry(const char* key, absl::string_view value) {
  amqp_table_entry_t entry{.key = amqp_cstring_bytes(key), .value = {}};
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = ToAmqpBytes(value);
  return entry;
}

amqp_table_entry_t FlagEntry(const char* key) {
  amqp_table_entry_t entry{.key = amqp_cstring_bytes(key), .value = {}};
  entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
  entry.value.value.boolean = 1;
  return entry;
}

// The library takes a time of zero for "at once".
timeval LibraryTimeout(absl::Duration time) { return absl::ToTimeval(std::max(time, absl::Milliseconds(1))); }

// For how long the operating system lets a peer take nothing of what was sent. Zero: its default.
void SetUserTimeout(int socket, std::chrono::nanoseconds limit) {
  const int milliseconds = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count());
  // Without it the heartbeats still find out, so a failure is of no interest.
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
}

// Makes the operating system notice a peer that is gone, even when nothing is sent.
void SetKeepalive(int socket) {
  const int idle_seconds = 15;
  const int interval_seconds = 5;
  const int probes = 3;
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof(idle_seconds));
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof(interval_seconds));
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

absl::Status Connect(amqp_connection_state_t state, const amqp_connection_info& address, MonotonicTime deadline) {
  const std::string what = absl::StrCat("connecting to ", address.host, ":", address.port);
  amqp_socket_t* const socket = amqp_tcp_socket_new(state);
  if (socket == nullptr) return StatusFromLibrary(AMQP_STATUS_NO_MEMORY, what);
  const timeval timeout = LibraryTimeout(TimeLeft(deadline));
  return StatusFromLibrary(amqp_socket_open_noblock(socket, address.host, address.port, &timeout), what);
}

absl::Status LogIn(amqp_connection_state_t state, const amqp_connection_info& address, const RabbitOptions& options,
                   MonotonicTime deadline) {
  const timeval timeout = LibraryTimeout(TimeLeft(deadline));
  amqp_set_handshake_timeout(state, &timeout);
  std::array capabilities = {FlagEntry("connection.blocked"), FlagEntry("consumer_cancel_notify"),
                             FlagEntry("publisher_confirms"), FlagEntry("basic.nack")};
  std::array properties = {TextEntry("product", "carillon"), TextEntry("connection_name", options.client_name),
                           amqp_table_entry_t{.key = amqp_cstring_bytes("capabilities"), .value = {}}};
  properties[2].value.kind = AMQP_FIELD_KIND_TABLE;
  properties[2].value.value.table = {static_cast<int>(capabilities.size()), capabilities.data()};
  const amqp_table_t table = {static_cast<int>(properties.size()), properties.data()};
  const int heartbeat = static_cast<int>(absl::ToInt64Seconds(absl::Ceil(options.heartbeat, absl::Seconds(1))));
  return StatusFromReply(amqp_login_with_properties(state, address.vhost, kMaxChannels, kMaxFrameBytes, heartbeat,
                                                    &table, AMQP_SASL_METHOD_PLAIN, address.user, address.password),
                         absl::StrCat("logging in at ", address.host, ":", address.port));
}

// The heartbeat that was agreed on with the broker; from here on it is ours to send.
absl::StatusOr<absl::Duration> TakeOverHeartbeat(amqp_connection_state_t state) {
  const absl::Duration heartbeat = absl::Seconds(amqp_get_heartbeat(state));
  // The library aborts the process if it is asked in the midst of a frame.
  if (!amqp_release_buffers_ok(state)) return RabbitUnavailable("unexpected data after the login");
  RETURN_IF_ERROR(StatusFromLibrary(
      amqp_tune_connection(state, amqp_get_channel_max(state), amqp_get_frame_max(state), /*heartbeat=*/0),
      "connecting"));
  return heartbeat;
}

}  // namespace

MonotonicTime MonotonicAfter(absl::Duration time) {
  time = std::clamp(time, absl::ZeroDuration(), absl::Hours(24));
  return MonotonicNow() + absl::ToChronoNanoseconds(time);
}

absl::Duration TimeLeft(MonotonicTime deadline) {
  return std::max(absl::FromChrono(deadline - MonotonicNow()), absl::ZeroDuration());
}

absl::StatusOr<std::unique_ptr<RabbitConnection>> RabbitConnection::Open(const RabbitOptions& options) {
  const MonotonicTime deadline = MonotonicAfter(options.connect_timeout);
  std::string url = options.url;  // The library decodes it in place and points into it.
  amqp_connection_info address{};
  RETURN_IF_ERROR(StatusFromLibrary(amqp_parse_url(url.data(), &address), "reading the address of the broker"));
  if (address.ssl) return absl::InvalidArgumentError("the address of the broker: amqps is not supported");

  AmqpConnectionPtr state(amqp_new_connection());
  if (state == nullptr) return StatusFromLibrary(AMQP_STATUS_NO_MEMORY, "connecting");
  RETURN_IF_ERROR(Connect(state.get(), address, deadline));
  RETURN_IF_ERROR(LogIn(state.get(), address, options, deadline));
  ASSIGN_OR_RETURN(const absl::Duration heartbeat, TakeOverHeartbeat(state.get()));
  SetKeepalive(amqp_get_sockfd(state.get()));
  SetUserTimeout(amqp_get_sockfd(state.get()), absl::ToChronoNanoseconds(2 * heartbeat));
  return std::unique_ptr<RabbitConnection>(new RabbitConnection(std::move(state), options.call_timeout, heartbeat));
}

RabbitConnection::RabbitConnection(AmqpConnectionPtr state, absl::Duration call_timeout, absl::Duration heartbeat)
    : state_(std::move(state)),
      frame_max_(static_cast<size_t>(amqp_get_frame_max(state_.get()))),
      channel_max_(amqp_get_channel_max(state_.get())),
      heartbeat_(absl::ToChronoNanoseconds(heartbeat)),
      last_sent_(MonotonicNow()),
      last_received_(last_sent_) {
  set_call_timeout(call_timeout);
}

RabbitConnection::~RabbitConnection() {
  // A blocked broker would not read the goodbye.
  if (broken_ || blocked_) return;
  set_call_timeout(kGoodbyeTimeout);
  const absl::StatusOr<bool> writable = Poll(POLLOUT, MonotonicAfter(kGoodbyeTimeout));
  if (writable.ok() && *writable) amqp_connection_close(state_.get(), AMQP_REPLY_SUCCESS);
}

void RabbitConnection::set_call_timeout(absl::Duration timeout) {
  call_timeout_ = timeout;
  const timeval value = LibraryTimeout(timeout);
  amqp_set_rpc_timeout(state_.get(), &value);
}

absl::StatusOr<amqp_channel_t> RabbitConnection::OpenChannel() {
  if (!CanOpenChannel()) return Break(RabbitUnavailable("this connection has no more channels"));
  const amqp_channel_t channel = static_cast<amqp_channel_t>(++channels_opened_);
  RETURN_IF_ERROR(
      Call(channel, "opening a channel", [=](amqp_connection_state_t state) { amqp_channel_open(state, channel); }));
  return channel;
}

absl::Status RabbitConnection::Call(amqp_channel_t channel, absl::string_view what,
                                    absl::FunctionRef<void(amqp_connection_state_t)> call) {
  if (broken_) return RabbitUnavailable("the connection is lost");
  // The library sends without a deadline; a writable socket takes any call's few bytes at once.
  ASSIGN_OR_RETURN(const bool writable, Poll(POLLOUT, MonotonicAfter(call_timeout_)));
  if (!writable) return Break(RabbitUnavailable(absl::StrCat(what, ": the broker reads nothing")));
  call(state_.get());
  const amqp_rpc_reply_t reply = amqp_get_rpc_reply(state_.get());
  absl::Status status = StatusFromReply(reply, what);
  if (!status.ok() && !IsChannelClose(reply)) return Break(std::move(status));
  last_sent_ = last_received_ = MonotonicNow();
  if (!status.ok()) AnswerChannelClose(channel).IgnoreError();
  return status;
}

absl::Status RabbitConnection::Send(absl::string_view frames, MonotonicTime deadline) {
  if (broken_) return RabbitUnavailable("the connection is lost");
  while (!frames.empty()) {
    const ssize_t sent = send(socket(), frames.data(), frames.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      frames.remove_prefix(static_cast<size_t>(sent));
      last_sent_ = MonotonicNow();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      ASSIGN_OR_RETURN(const bool writable, Poll(POLLOUT, deadline));
      if (!writable) return Break(RabbitUnavailable("sending: the broker reads nothing"));
    } else if (errno != EINTR) {
      return Break(RabbitUnavailable(absl::StrCat("sending: ", std::strerror(errno))));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> RabbitConnection::ReadFrame(MonotonicTime deadline, amqp_frame_t* frame) {
  if (broken_) return RabbitUnavailable("the connection is lost");
  while (true) {
    if (!amqp_frames_enqueued(state_.get()) && !amqp_data_in_buffer(state_.get())) {
      ASSIGN_OR_RETURN(const bool input, AwaitInput(deadline));
      if (!input) return false;
    }
    constexpr timeval kAtOnce = {0, 0};
    const int code = amqp_simple_wait_frame_noblock(state_.get(), frame, &kAtOnce);
    if (code == AMQP_STATUS_OK) {
      RETURN_IF_ERROR(HandleControl(*frame));
      return true;
    }
    if (code != AMQP_STATUS_TIMEOUT) return Break(StatusFromLibrary(code, "reading"));
    // A heartbeat, or a part of a frame.
    if (MonotonicNow() >= deadline) return false;
  }
}

absl::Status RabbitConnection::Break(absl::Status status) {
  broken_ = true;
  return status;
}

absl::StatusOr<bool> RabbitConnection::Poll(short events, MonotonicTime deadline) {
  while (true) {
    pollfd entry{.fd = socket(), .events = events, .revents = 0};
    const absl::Duration left = absl::Ceil(TimeLeft(deadline), absl::Milliseconds(1));
    const int ready = poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(left)));
    // Errors and hang-ups count as ready: what is done next reports them.
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) {
      return Break(RabbitUnavailable(absl::StrCat("waiting: ", std::strerror(errno))));
    }
    if (MonotonicNow() >= deadline) return false;
  }
}

absl::StatusOr<bool> RabbitConnection::AwaitInput(MonotonicTime deadline) {
  while (true) {
    MonotonicTime wake = deadline;
    if (heartbeat_.count() > 0) {
      RETURN_IF_ERROR(SendHeartbeatIfDue());
      wake = std::min({wake, last_sent_ + heartbeat_ / 2, last_received_ + 2 * heartbeat_});
    }
    // Looks at least once, so a broker that spoke while nobody listened counts as alive.
    ASSIGN_OR_RETURN(const bool input, Poll(POLLIN, wake));
    const MonotonicTime now = MonotonicNow();
    if (input) {
      last_received_ = now;
      return true;
    }
    if (heartbeat_.count() > 0 && now >= last_received_ + 2 * heartbeat_) {
      return Break(RabbitUnavailable("the broker was silent for two heartbeats"));
    }
    if (now >= deadline) return false;
  }
}

absl::Status RabbitConnection::SendHeartbeatIfDue() {
  const MonotonicTime now = MonotonicNow();
  if (now < last_sent_ + heartbeat_ / 2) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool writable, Poll(POLLOUT, now));
  if (!writable) {
    // The bytes that wait to be read are a sign of life as good as a heartbeat.
    last_sent_ = now;
    return absl::OkStatus();
  }
  std::string heartbeat;
  AppendHeartbeatFrame(&heartbeat);
  return Send(heartbeat, MonotonicAfter(kControlSendTimeout));
}

absl::Status RabbitConnection::HandleControl(const amqp_frame_t& frame) {
  if (frame.frame_type != AMQP_FRAME_METHOD) return absl::OkStatus();
  const amqp_method_t& method = frame.payload.method;
  switch (method.id) {
    case AMQP_CONNECTION_BLOCKED_METHOD:
      blocked_ = true;
      // Such a broker takes nothing for as long as it likes, and is alive.
      SetUserTimeout(socket(), std::chrono::nanoseconds::zero());
      return absl::OkStatus();
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
      blocked_ = false;
      SetUserTimeout(socket(), 2 * heartbeat_);
      return absl::OkStatus();
    case AMQP_CONNECTION_CLOSE_METHOD:
      return Break(StatusFromConnectionClose(*static_cast<const amqp_connection_close_t*>(method.decoded),
                                             "the broker closed the connection"));
    case AMQP_CHANNEL_CLOSE_METHOD: {
      const absl::Status status = StatusFromChannelClose(*static_cast<const amqp_channel_close_t*>(method.decoded),
                                                         "the broker closed a channel");
      AnswerChannelClose(frame.channel).IgnoreError();
      return status;
    }
    default:
      return absl::OkStatus();
  }
}

absl::Status RabbitConnection::AnswerChannelClose(amqp_channel_t channel) {
  amqp_channel_close_ok_t arguments{};
  std::string answer;
  RETURN_IF_ERROR(AppendMethodFrame(channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &arguments, 0, &answer));
  return Send(answer, MonotonicAfter(kControlSendTimeout));
}

}  // namespace carillon
