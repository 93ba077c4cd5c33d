#include "carillon/rabbitmq/consumer.h"

#include <amqp_framing.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/rabbitmq/error_mapping.h"
#include "carillon/rabbitmq/frames.h"
#include "carillon/rabbitmq/handles.h"

namespace carillon {
namespace {

absl::Status NotOpen() { return RabbitUnavailable("the consumer is not open"); }

}  // namespace

absl::Status RabbitConsumer::Open(const std::vector<std::string>& queues, int prefetch) {
  Close();
  ASSIGN_OR_RETURN(connection_, RabbitConnection::Open(options_));
  absl::StatusOr<amqp_channel_t> channel = connection_->OpenChannel();
  if (!channel.ok()) return DropUnlessOk(channel.status());
  channel_ = *channel;
  RETURN_IF_ERROR(DropUnlessOk(connection_->Call(channel_, "setting the prefetch", [&](amqp_connection_state_t state) {
    // Zero would be no limit.
    const uint16_t count = static_cast<uint16_t>(std::clamp(prefetch, 1, 65535));
    amqp_basic_qos(state, channel_, /*prefetch_size=*/0, count, /*global=*/0);
  })));
  for (const std::string& queue : queues) RETURN_IF_ERROR(DropUnlessOk(Consume(queue)));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<InboundMessage>> RabbitConsumer::Receive(int max, absl::Duration wait) {
  if (connection_ == nullptr) return NotOpen();
  RETURN_IF_ERROR(DropUnlessOk(ReadFrames(MonotonicAfter(wait))));
  const size_t count = std::min(static_cast<size_t>(std::max(max, 0)), arrived_.size());
  const auto end = arrived_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<InboundMessage> messages(std::make_move_iterator(arrived_.begin()), std::make_move_iterator(end));
  arrived_.erase(arrived_.begin(), end);
  return messages;
}

absl::Status RabbitConsumer::Ack(uint64_t tag, bool multiple) {
  if (connection_ == nullptr) return NotOpen();
  std::string frame;
  AppendAckFrame(channel_, tag, multiple, &frame);
  return DropUnlessOk(connection_->Send(frame, MonotonicAfter(options_.call_timeout)));
}

absl::Status RabbitConsumer::Cancel() {
  if (connection_ == nullptr) return NotOpen();
  for (const std::string& queue : std::exchange(queues_, {})) {
    RETURN_IF_ERROR(DropUnlessOk(connection_->Call(
        channel_, absl::StrCat("cancelling ", queue),
        [&](amqp_connection_state_t state) { amqp_basic_cancel(state, channel_, ToAmqpBytes(queue)); })));
  }
  return absl::OkStatus();
}

absl::Status RabbitConsumer::Service() {
  if (connection_ == nullptr) return NotOpen();
  return DropUnlessOk(ReadFrames(MonotonicNow()));
}

void RabbitConsumer::Close() { Drop(); }

absl::Status RabbitConsumer::Consume(const std::string& queue) {
  const std::string what = absl::StrCat("consuming ", queue);
  absl::Status status = connection_->Call(channel_, what, [&](amqp_connection_state_t state) {
    amqp_basic_consume(state, channel_, ToAmqpBytes(queue), /*consumer_tag=*/ToAmqpBytes(queue), /*no_local=*/0,
                       /*no_ack=*/0, /*exclusive=*/0, amqp_empty_table);
  });
  if (status.ok()) queues_.push_back(queue);
  return status;
}

absl::Status RabbitConsumer::ReadFrames(MonotonicTime deadline) {
  amqp_frame_t frame;
  while (true) {
    ASSIGN_OR_RETURN(const bool come, connection_->ReadFrame(arrived_.empty() ? deadline : MonotonicNow(), &frame));
    if (!come) break;
    RETURN_IF_ERROR(HandleFrame(frame));
  }
  connection_->ReleaseFrames();
  return absl::OkStatus();
}

absl::Status RabbitConsumer::HandleFrame(const amqp_frame_t& frame) {
  if (frame.channel != channel_) return absl::OkStatus();
  if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_CANCEL_METHOD) {
    const auto& cancel = *static_cast<const amqp_basic_cancel_t*>(frame.payload.method.decoded);
    return RabbitUnavailable(absl::StrCat("the queue ", FromAmqpBytes(cancel.consumer_tag), " is gone"));
  }
  ASSIGN_OR_RETURN(std::optional<InboundMessage> message, assembler_.Take(frame));
  if (message.has_value()) arrived_.push_back(*std::move(message));
  return absl::OkStatus();
}

void RabbitConsumer::Drop() {
  connection_.reset();
  channel_ = 0;
  queues_.clear();
  assembler_.Reset();
  arrived_.clear();
}

absl::Status RabbitConsumer::DropUnlessOk(absl::Status status) {
  if (status.ok()) return status;
  Drop();
  return absl::IsUnavailable(status) ? status : RabbitUnavailable(status.message());
}

}  // namespace carillon
