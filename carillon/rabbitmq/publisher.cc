#include "carillon/rabbitmq/publisher.h"

#include <amqp_framing.h>

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/rabbitmq/error_mapping.h"
#include "carillon/rabbitmq/handles.h"
#include "carillon/rabbitmq/message.h"

namespace carillon {
namespace {

// What may be on its way. More gains no throughput, and all of it may have to be sent again.
constexpr size_t kWindowMessages = 1000;
constexpr size_t kWindowBytes = 1024 * 1024;
// Written at once, so that confirms are read in between.
constexpr size_t kChunkBytes = 64 * 1024;
// A buffer that one huge message made larger is given back.
constexpr size_t kMaxKeptBuffer = 1024 * 1024;

}  // namespace

absl::StatusOr<std::vector<PublishOutcome>> RabbitPublisher::Publish(absl::Span<const OutboundMessage> messages,
                                                                     absl::Duration timeout) {
  if (messages.empty()) return std::vector<PublishOutcome>();
  const MonotonicTime deadline = MonotonicAfter(timeout);
  RETURN_IF_ERROR(EnsureConnected(deadline));
  Round round{.messages = messages, .outcomes = std::vector<PublishOutcome>(messages.size(), PublishOutcome::kUnknown)};
  absl::Status status = AwaitQuiet(deadline);
  if (status.ok()) {
    round_ = &round;
    status = Run(deadline);
    round_ = nullptr;
  }
  const bool is_held = absl::IsDeadlineExceeded(status) && connection_->blocked();
  if (!status.ok() && !is_held) Disconnect(std::move(status));
  return std::move(round.outcomes);
}

absl::Status RabbitPublisher::EnsureBinding(const BindingSpec& binding) {
  const MonotonicTime deadline = MonotonicAfter(options_.connect_timeout + options_.call_timeout);
  RETURN_IF_ERROR(EnsureConnected(deadline));
  std::pair<std::string, std::string> key(binding.exchange, binding.key);
  const auto known = bindings_.find(key);
  if (known != bindings_.end() && absl::c_linear_search(known->second, binding.queue)) return absl::OkStatus();
  if (connection_->blocked()) return RabbitUnavailable("the broker is short of memory or disk and takes nothing");
  absl::Status status = EnsureBindingChannel(deadline);
  if (status.ok()) status = Bind(binding);
  if (status.ok()) bindings_[std::move(key)].push_back(binding.queue);
  if (connection_ != nullptr && connection_->broken()) Disconnect(status);
  return status;
}

absl::Status RabbitPublisher::Service() {
  if (connection_ == nullptr) return std::exchange(loss_, absl::OkStatus());
  absl::Status status = ReadFrames(MonotonicNow()).status();
  if (!status.ok()) {
    Disconnect(status);
    loss_ = absl::OkStatus();
  }
  return status;
}

absl::Status RabbitPublisher::EnsureConnected(MonotonicTime deadline) {
  if (connection_ != nullptr) {
    // A connection that was lost while idle says so here, before anything is sent.
    absl::Status status = ReadFrames(MonotonicNow()).status();
    if (status.ok()) return status;
    Disconnect(std::move(status));
  }
  absl::Status status = Connect(deadline);
  if (!status.ok()) Disconnect(status);
  return status;
}

absl::Status RabbitPublisher::EnsureBindingChannel(MonotonicTime deadline) {
  if (binding_channel_ != 0) return absl::OkStatus();
  if (!connection_->CanOpenChannel()) {
    Disconnect(RabbitUnavailable("no more channels"));
    RETURN_IF_ERROR(EnsureConnected(deadline));
  }
  connection_->set_call_timeout(options_.call_timeout);
  ASSIGN_OR_RETURN(binding_channel_, connection_->OpenChannel());
  return absl::OkStatus();
}

absl::Status RabbitPublisher::Bind(const BindingSpec& binding) {
  connection_->set_call_timeout(options_.call_timeout);
  absl::Status status =
      connection_->Call(binding_channel_, absl::StrCat("binding ", binding.queue), [&](amqp_connection_state_t state) {
        amqp_queue_bind(state, binding_channel_, ToAmqpBytes(binding.queue), ToAmqpBytes(binding.exchange),
                        ToAmqpBytes(binding.key), amqp_empty_table);
      });
  // A refusal closes the channel.
  if (!status.ok()) binding_channel_ = 0;
  return status;
}

absl::Status RabbitPublisher::Connect(MonotonicTime deadline) {
  RabbitOptions options = options_;
  options.connect_timeout = std::min(options.connect_timeout, TimeLeft(deadline));
  ASSIGN_OR_RETURN(connection_, RabbitConnection::Open(options));
  connection_->set_call_timeout(std::min(options.call_timeout, TimeLeft(deadline)));
  ASSIGN_OR_RETURN(channel_, connection_->OpenChannel());
  connection_->set_call_timeout(std::min(options.call_timeout, TimeLeft(deadline)));
  return connection_->Call(channel_, "asking for confirms",
                           [this](amqp_connection_state_t state) { amqp_confirm_select(state, channel_); });
}

void RabbitPublisher::Disconnect(absl::Status why) {
  if (connection_ != nullptr) connection_->Abandon();
  connection_.reset();
  loss_ = std::move(why);
  channel_ = 0;
  binding_channel_ = 0;
  in_flight_.clear();
  first_tag_ = 1;
  bytes_in_flight_ = 0;
  bindings_.clear();
}

absl::Status RabbitPublisher::AwaitQuiet(MonotonicTime deadline) {
  while (connection_->blocked() || !in_flight_.empty()) {
    ASSIGN_OR_RETURN(const bool received, ReadFrames(deadline));
    if (!received) return absl::DeadlineExceededError("the broker took nothing in time");
  }
  return absl::OkStatus();
}

absl::Status RabbitPublisher::Run(MonotonicTime deadline) {
  while (true) {
    ASSIGN_OR_RETURN(const bool sent, SendChunk(deadline));
    if (!sent && in_flight_.empty() && round_->next == round_->messages.size()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const bool received, ReadFrames(sent ? MonotonicNow() : deadline));
    if (!sent && !received) return absl::DeadlineExceededError("the broker did not confirm in time");
  }
}

bool RabbitPublisher::WindowHasRoom() const {
  return in_flight_.size() < kWindowMessages && bytes_in_flight_ < kWindowBytes;
}

absl::StatusOr<bool> RabbitPublisher::SendChunk(MonotonicTime deadline) {
  if (connection_->blocked()) return false;
  const size_t first = round_->next;
  buffer_.clear();
  while (round_->next < round_->messages.size() && WindowHasRoom() && buffer_.size() < kChunkBytes) {
    const size_t index = round_->next++;
    const size_t before = buffer_.size();
    if (!AppendPublishFrames(channel_, connection_->frame_max(), round_->messages[index], &buffer_).ok()) {
      round_->outcomes[index] = PublishOutcome::kRefused;
      continue;
    }
    in_flight_.push_back({.index = index, .bytes = buffer_.size() - before});
    bytes_in_flight_ += in_flight_.back().bytes;
  }
  RETURN_IF_ERROR(connection_->Send(buffer_, deadline));
  if (buffer_.capacity() > kMaxKeptBuffer) std::string().swap(buffer_);
  return round_->next > first;
}

absl::StatusOr<bool> RabbitPublisher::ReadFrames(MonotonicTime deadline) {
  bool received = false;
  amqp_frame_t frame;
  while (true) {
    ASSIGN_OR_RETURN(const bool come, connection_->ReadFrame(received ? MonotonicNow() : deadline, &frame));
    if (!come) break;
    received = true;
    HandleFrame(frame);
  }
  connection_->ReleaseFrames();
  return received;
}

void RabbitPublisher::HandleFrame(const amqp_frame_t& frame) {
  if (frame.channel != channel_) return;
  if (frame.frame_type == AMQP_FRAME_HEADER) {
    // Only returned messages have content here; their bodies are of no interest.
    const auto& properties = *static_cast<const amqp_basic_properties_t*>(frame.payload.properties.decoded);
    MarkReturned(FromAmqpBytes(properties.message_id));
  }
  if (frame.frame_type != AMQP_FRAME_METHOD) return;
  const void* const arguments = frame.payload.method.decoded;
  switch (frame.payload.method.id) {
    case AMQP_BASIC_ACK_METHOD: {
      const auto& ack = *static_cast<const amqp_basic_ack_t*>(arguments);
      Settle(ack.delivery_tag, ack.multiple, PublishOutcome::kConfirmed);
      break;
    }
    case AMQP_BASIC_NACK_METHOD: {
      const auto& nack = *static_cast<const amqp_basic_nack_t*>(arguments);
      Settle(nack.delivery_tag, nack.multiple, PublishOutcome::kRefused);
      break;
    }
    case AMQP_BASIC_RETURN_METHOD: {
      const auto& returned = *static_cast<const amqp_basic_return_t*>(arguments);
      returned_ = {std::string(FromAmqpBytes(returned.exchange)), std::string(FromAmqpBytes(returned.routing_key))};
      bindings_.erase(returned_);
      break;
    }
    default:
      break;
  }
}

void RabbitPublisher::Settle(uint64_t tag, bool multiple, PublishOutcome outcome) {
  if (tag < first_tag_ || tag >= first_tag_ + in_flight_.size()) return;
  const size_t last = tag - first_tag_;
  for (size_t i = multiple ? 0 : last; i <= last; ++i) SettleOne(&in_flight_[i], outcome);
  while (!in_flight_.empty() && in_flight_.front().settled) {
    in_flight_.pop_front();
    ++first_tag_;
  }
}

void RabbitPublisher::SettleOne(InFlight* message, PublishOutcome outcome) {
  if (message->settled) return;
  message->settled = true;
  bytes_in_flight_ -= message->bytes;
  if (round_ == nullptr) return;  // Left over from a round that has been answered.
  PublishOutcome& answer = round_->outcomes[message->index];
  // A message that came back is acknowledged too.
  if (answer == PublishOutcome::kUnknown) answer = outcome;
}

void RabbitPublisher::MarkReturned(absl::string_view message_id) {
  if (round_ == nullptr) return;
  // Equal messages come back alike, so the first that has no answer will do.
  for (const InFlight& candidate : in_flight_) {
    if (candidate.settled || round_->outcomes[candidate.index] != PublishOutcome::kUnknown) continue;
    const OutboundMessage& message = round_->messages[candidate.index];
    if (message.message_id == message_id && message.routing_key == returned_.second &&
        message.exchange == returned_.first) {
      round_->outcomes[candidate.index] = PublishOutcome::kReturned;
      return;
    }
  }
}

}  // namespace carillon
