// Declares exchanges, queues and bindings in RabbitMQ and looks at queues.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "carillon/ports/broker.h"
#include "carillon/rabbitmq/connection.h"
#include "carillon/rabbitmq/options.h"

namespace carillon {

// Everything is durable and every queue a quorum queue. Work and retry queues
// dead-letter at least once, which needs that a full queue refuses messages
// instead of dropping them. Keeps a connection without heartbeats for the next
// call, whenever that is.
//
// Owner thread only; blocks, at most call_timeout per thing declared.
class RabbitTopologyAdmin final : public TopologyAdmin {
 public:
  explicit RabbitTopologyAdmin(RabbitOptions options) : options_(std::move(options)) {
    options_.heartbeat = absl::ZeroDuration();
  }

  // Goes on past what the broker refuses, and names all of it.
  absl::Status Declare(const Topology& topology) override;
  absl::StatusOr<QueueStats> Inspect(const std::string& queue) override;

 private:
  absl::Status DeclareExchange(const ExchangeSpec& exchange);
  absl::Status DeclareQueue(const QueueSpec& queue);
  absl::Status Bind(const BindingSpec& binding);

  // A connection and a channel to make calls on.
  absl::Status EnsureChannel();
  absl::Status Call(absl::string_view what, absl::FunctionRef<void(amqp_connection_state_t)> call);

  RabbitOptions options_;
  std::unique_ptr<RabbitConnection> connection_;
  amqp_channel_t channel_ = 0;  // 0: none is open.
};

}  // namespace carillon
