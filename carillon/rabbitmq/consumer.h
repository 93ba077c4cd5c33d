// The consumer that RabbitMQ provides.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "carillon/ports/broker.h"
#include "carillon/rabbitmq/connection.h"
#include "carillon/rabbitmq/message.h"
#include "carillon/rabbitmq/options.h"

namespace carillon {

// Consumes over one connection, on all channels with one read and one write at
// a time. Open makes both anew: RabbitMQ 3.10 may close a channel on which a
// queue is consumed a second time (#5927). Any error drops the connection. At
// most prefetch x channels messages per queue are held.
//
// Owner thread only.
class RabbitConsumer final : public Consumer {
 public:
  // As many as a connection carries.
  static constexpr int kMaxChannels = 64;

  explicit RabbitConsumer(RabbitOptions options) : options_(std::move(options)) {}

  // At most connect_timeout, and call_timeout for each queue of each channel and two calls more per channel.
  absl::Status Open(const std::vector<std::string>& queues, const Window& window) override;
  absl::StatusOr<std::vector<InboundMessage>> Receive(int max, absl::Duration wait) override;
  // Writes without waiting for an answer; at most call_timeout.
  absl::Status Ack(absl::Span<const InboundMessage> messages) override;
  // At most call_timeout per queue and channel.
  absl::Status Cancel() override;
  // Does not block.
  absl::Status Service() override;
  // At most a second.
  void Close() override;

 private:
  struct Channel {
    amqp_channel_t number = 0;
    std::vector<std::string> queues;  // Consumed now.
    DeliveryAssembler assembler;
    std::deque<uint64_t> unsettled;  // Delivery tags, ascending.
  };

  absl::Status OpenChannel(const std::vector<std::string>& queues, int prefetch);
  absl::Status Consume(Channel& channel, const std::string& queue);
  Channel* FindChannel(amqp_channel_t number);
  // Takes the tags off what is unsettled; appends the frames that tell the broker.
  static void AppendAcks(Channel& channel, std::vector<uint64_t> tags, std::string* frames);
  // Waits for a message, unless one is held, then takes all that is there: the prefetch bounds it.
  absl::Status ReadFrames(MonotonicTime deadline);
  absl::Status HandleFrame(const amqp_frame_t& frame);
  // Drops the connection and all it held.
  void Drop();
  // Drops the connection if `status` is an error; every error is UNAVAILABLE afterwards.
  absl::Status DropUnlessOk(absl::Status status);

  const RabbitOptions options_;
  std::unique_ptr<RabbitConnection> connection_;
  std::vector<Channel> channels_;  // Numbered from 1, in order.
  std::deque<InboundMessage> arrived_;
};

}  // namespace carillon
