#include "carillon/rabbitmq/consumer.h"

#include <amqp_framing.h>

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/rabbitmq/error_mapping.h"
#include "carillon/rabbitmq/frames.h"
#include "carillon/rabbitmq/handles.h"

namespace carillon {
namespace {

// A tag of ours: the channel's number above the broker's delivery tag, which
// counts from 1 on each channel and would take centuries to reach this bit.
constexpr int kChannelShift = 48;

uint64_t JoinTag(amqp_channel_t channel, uint64_t delivery_tag) {
  return (uint64_t{channel} << kChannelShift) | delivery_tag;
}
amqp_channel_t ChannelOfTag(uint64_t tag) { return static_cast<amqp_channel_t>(tag >> kChannelShift); }
uint64_t DeliveryTag(uint64_t tag) { return tag & ((uint64_t{1} << kChannelShift) - 1); }

absl::Status NotOpen() { return RabbitUnavailable("the consumer is not open"); }

}  // namespace

absl::Status RabbitConsumer::Open(const std::vector<std::string>& queues, const Window& window) {
  Close();
  ASSIGN_OR_RETURN(connection_, RabbitConnection::Open(options_));
  const int channels = std::clamp(window.channels, 1, kMaxChannels);
  for (int i = 0; i < channels; ++i) RETURN_IF_ERROR(DropUnlessOk(OpenChannel(queues, window.prefetch)));
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

absl::Status RabbitConsumer::Ack(absl::Span<const InboundMessage> messages) {
  if (connection_ == nullptr) return NotOpen();
  std::map<amqp_channel_t, std::vector<uint64_t>> tags;
  for (const InboundMessage& message : messages) {
    tags[ChannelOfTag(message.tag)].push_back(DeliveryTag(message.tag));
  }
  std::string frames;
  for (auto& [number, channel_tags] : tags) {
    Channel* const channel = FindChannel(number);
    if (channel == nullptr) return DropUnlessOk(RabbitUnavailable("a tag of no channel"));
    AppendAcks(*channel, std::move(channel_tags), &frames);
  }
  return DropUnlessOk(connection_->Send(frames, MonotonicAfter(options_.call_timeout)));
}

absl::Status RabbitConsumer::Cancel() {
  if (connection_ == nullptr) return NotOpen();
  for (Channel& channel : channels_) {
    for (const std::string& queue : std::exchange(channel.queues, {})) {
      RETURN_IF_ERROR(DropUnlessOk(connection_->Call(
          channel.number, absl::StrCat("cancelling ", queue),
          [&](amqp_connection_state_t state) { amqp_basic_cancel(state, channel.number, ToAmqpBytes(queue)); })));
    }
  }
  return absl::OkStatus();
}

absl::Status RabbitConsumer::Service() {
  if (connection_ == nullptr) return NotOpen();
  return DropUnlessOk(ReadFrames(MonotonicNow()));
}

void RabbitConsumer::Close() { Drop(); }

absl::Status RabbitConsumer::OpenChannel(const std::vector<std::string>& queues, int prefetch) {
  ASSIGN_OR_RETURN(const amqp_channel_t number, connection_->OpenChannel());
  Channel& channel = channels_.emplace_back();
  channel.number = number;
  RETURN_IF_ERROR(connection_->Call(number, "setting the prefetch", [&](amqp_connection_state_t state) {
    // Zero would be no limit.
    const uint16_t count = static_cast<uint16_t>(std::clamp(prefetch, 1, 65535));
    amqp_basic_qos(state, number, /*prefetch_size=*/0, count, /*global=*/0);
  }));
  for (const std::string& queue : queues) RETURN_IF_ERROR(Consume(channel, queue));
  return absl::OkStatus();
}

absl::Status RabbitConsumer::Consume(Channel& channel, const std::string& queue) {
  const std::string what = absl::StrCat("consuming ", queue);
  absl::Status status = connection_->Call(channel.number, what, [&](amqp_connection_state_t state) {
    amqp_basic_consume(state, channel.number, ToAmqpBytes(queue), /*consumer_tag=*/ToAmqpBytes(queue), /*no_local=*/0,
                       /*no_ack=*/0, /*exclusive=*/0, amqp_empty_table);
  });
  if (status.ok()) channel.queues.push_back(queue);
  return status;
}

RabbitConsumer::Channel* RabbitConsumer::FindChannel(amqp_channel_t number) {
  return number >= 1 && number <= channels_.size() ? &channels_[number - 1u] : nullptr;
}

// One frame settles those with nothing unsettled before them, as most are; each
// of the others has one of its own, and so has a tag that the broker must refuse.
void RabbitConsumer::AppendAcks(Channel& channel, std::vector<uint64_t> tags, std::string* frames) {
  std::sort(tags.begin(), tags.end());
  std::deque<uint64_t>& unsettled = channel.unsettled;
  size_t together = 0;
  for (; together < tags.size() && !unsettled.empty() && unsettled.front() == tags[together]; ++together) {
    unsettled.pop_front();
  }
  if (together > 0) AppendAckFrame(channel.number, tags[together - 1], /*multiple=*/together > 1, frames);
  for (size_t i = together; i < tags.size(); ++i) {
    AppendAckFrame(channel.number, tags[i], /*multiple=*/false, frames);
    const auto at = std::lower_bound(unsettled.begin(), unsettled.end(), tags[i]);
    if (at != unsettled.end() && *at == tags[i]) unsettled.erase(at);
  }
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
  Channel* const channel = FindChannel(frame.channel);
  if (channel == nullptr) return absl::OkStatus();
  if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_CANCEL_METHOD) {
    const auto& cancel = *static_cast<const amqp_basic_cancel_t*>(frame.payload.method.decoded);
    return RabbitUnavailable(absl::StrCat("the queue ", FromAmqpBytes(cancel.consumer_tag), " is gone"));
  }
  ASSIGN_OR_RETURN(std::optional<InboundMessage> message, channel->assembler.Take(frame));
  if (!message.has_value()) return absl::OkStatus();
  channel->unsettled.push_back(message->tag);
  message->tag = JoinTag(channel->number, message->tag);
  arrived_.push_back(*std::move(message));
  return absl::OkStatus();
}

void RabbitConsumer::Drop() {
  connection_.reset();
  channels_.clear();
  arrived_.clear();
}

absl::Status RabbitConsumer::DropUnlessOk(absl::Status status) {
  if (status.ok()) return status;
  Drop();
  return absl::IsUnavailable(status) ? status : RabbitUnavailable(status.message());
}

}  // namespace carillon
