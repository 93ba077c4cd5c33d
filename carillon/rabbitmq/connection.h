// A connection to RabbitMQ on which nothing waits without a limit.
//
// librabbitmq 0.11 sends and reads without a deadline in places, and its own
// heartbeats can block for good (a send to a broker that has stopped reading, a
// "non-blocking" read that waits). So heartbeats, waiting and sending are done
// here, on the socket; the library decodes frames and makes the calls that have
// an answer, which it bounds by call_timeout.
//
// Owner thread only. Once broken() it stays so: drop it and open another.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/rabbitmq/handles.h"
#include "carillon/rabbitmq/options.h"

namespace carillon {

// Deadlines here are moments on the monotonic clock.
using MonotonicTime = std::chrono::steady_clock::time_point;
inline MonotonicTime MonotonicNow() { return std::chrono::steady_clock::now(); }
// `time` from now; longer than a day is a day, less than zero is now.
MonotonicTime MonotonicAfter(absl::Duration time);
// Not below zero.
absl::Duration TimeLeft(MonotonicTime deadline);

class RabbitConnection {
 public:
  // Connects and logs in, within connect_timeout (apart from the look-up of a
  // host name, which is the resolver's affair). A heartbeat of zero means none.
  // INVALID_ARGUMENT if the URL is none; else UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<RabbitConnection>> Open(const RabbitOptions& options);

  // Says goodbye to the broker if the connection is sound, for a second at most.
  ~RabbitConnection();
  RabbitConnection(const RabbitConnection&) = delete;
  RabbitConnection& operator=(const RabbitConnection&) = delete;

  // True: lost, or in a state that nobody knows.
  bool broken() const { return broken_; }
  // The owner gives up on it: nothing more is said to the broker.
  void Abandon() { broken_ = true; }
  // True: the broker is short of memory or disk and reads nothing that is published.
  bool blocked() const { return blocked_; }
  size_t frame_max() const { return frame_max_; }
  void set_call_timeout(absl::Duration timeout);

  // Opens the channel of the next number. Numbers are not used twice and each
  // costs memory, so there are only so many: for more, take another connection.
  bool CanOpenChannel() const { return channels_opened_ < channel_max_; }
  absl::StatusOr<amqp_channel_t> OpenChannel();

  // Makes a call that has an answer: `call` calls one such function of the
  // library. A refusal closes the channel (the connection stays sound); see
  // error_mapping.h for the codes.
  absl::Status Call(amqp_channel_t channel, absl::string_view what,
                    absl::FunctionRef<void(amqp_connection_state_t)> call);

  // Writes whole frames. All were handed to the operating system, or the
  // connection is broken.
  absl::Status Send(absl::string_view frames, MonotonicTime deadline);

  // The next frame; false if none came until the deadline (one in the past: what
  // is there already). Its contents live until ReleaseFrames. Sends heartbeats
  // while it waits. Fails if the broker closed the connection or a channel, or
  // was silent for two heartbeats.
  absl::StatusOr<bool> ReadFrame(MonotonicTime deadline, amqp_frame_t* frame);
  // Frees what earlier frames needed. Call after each batch.
  void ReleaseFrames() { amqp_maybe_release_buffers(state_.get()); }

 private:
  RabbitConnection(AmqpConnectionPtr state, absl::Duration call_timeout, absl::Duration heartbeat);

  // Marks the connection as broken; returns `status`.
  absl::Status Break(absl::Status status);
  int socket() const { return amqp_get_sockfd(state_.get()); }
  // Waits for these poll events; false at the deadline.
  absl::StatusOr<bool> Poll(short events, MonotonicTime deadline);
  // Waits for input and keeps the connection alive meanwhile.
  absl::StatusOr<bool> AwaitInput(MonotonicTime deadline);
  absl::Status SendHeartbeatIfDue();
  // Acts on what concerns the connection and closed channels.
  absl::Status HandleControl(const amqp_frame_t& frame);
  absl::Status AnswerChannelClose(amqp_channel_t channel);

  const AmqpConnectionPtr state_;
  const size_t frame_max_;
  const int channel_max_;
  const std::chrono::nanoseconds heartbeat_;  // Zero: none.
  absl::Duration call_timeout_;
  int channels_opened_ = 0;
  bool broken_ = false;
  bool blocked_ = false;
  MonotonicTime last_sent_;
  MonotonicTime last_received_;
};

}  // namespace carillon
