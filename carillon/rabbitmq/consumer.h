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

// Consumes over one connection with one channel. Open makes both anew: RabbitMQ
// 3.10 may close a channel on which a queue is consumed a second time (#5927).
// Any error drops the connection. At most prefetch messages per queue are held.
//
// Owner thread only.
class RabbitConsumer final : public Consumer {
 public:
  explicit RabbitConsumer(RabbitOptions options) : options_(std::move(options)) {}

  // At most connect_timeout, and call_timeout for each of the queues and two calls more.
  absl::Status Open(const std::vector<std::string>& queues, int prefetch) override;
  absl::StatusOr<std::vector<InboundMessage>> Receive(int max, absl::Duration wait) override;
  // Writes without waiting for an answer; at most call_timeout.
  absl::Status Ack(uint64_t tag, bool multiple) override;
  // At most call_timeout per queue.
  absl::Status Cancel() override;
  // Does not block.
  absl::Status Service() override;
  // At most a second.
  void Close() override;

 private:
  absl::Status Consume(const std::string& queue);
  // Waits for a message, unless one is held, then takes all that is there: the prefetch bounds it.
  absl::Status ReadFrames(MonotonicTime deadline);
  absl::Status HandleFrame(const amqp_frame_t& frame);
  // Drops the connection and all it held.
  void Drop();
  // Drops the connection if `status` is an error; every error is UNAVAILABLE afterwards.
  absl::Status DropUnlessOk(absl::Status status);

  const RabbitOptions options_;
  std::unique_ptr<RabbitConnection> connection_;
  amqp_channel_t channel_ = 0;
  std::vector<std::string> queues_;  // Consumed now.
  DeliveryAssembler assembler_;
  std::deque<InboundMessage> arrived_;
};

}  // namespace carillon
