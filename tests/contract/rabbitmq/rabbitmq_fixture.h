// What the tests of the RabbitMQ adapter share: a vhost, names, declarations.
#pragma once

#include <amqp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "carillon/ports/broker.h"
#include "carillon/rabbitmq/connection.h"
#include "carillon/rabbitmq/consumer.h"
#include "carillon/rabbitmq/options.h"
#include "carillon/rabbitmq/publisher.h"
#include "carillon/rabbitmq/topology_admin.h"
#include "tests/kit/test_vhost.h"

namespace carillon::testing {

// All tests of the program share a vhost and keep apart by their queues' names.
class RabbitMqTest : public ::testing::Test {
 protected:
  static TestVhost& vhost();
  static RabbitOptions Options();
  // The same broker, through an address of the form 127.0.0.1:port.
  static RabbitOptions OptionsThrough(const std::string& address);
  // host:port of the broker.
  static std::string BrokerAddress();

  // A queue name of this test.
  static std::string QueueName(const std::string& suffix = "");
  // Declares a work queue of this name as the product does, with its dead-letter
  // queue and a retry queue of one second at carillon.retry.5.
  static void DeclareWorkQueue(const std::string& name);
  // Declares a quorum queue that refuses what exceeds this length.
  static void DeclareShortQueue(const std::string& name, int max_length);
  // Makes a call on a connection of its own.
  static absl::Status CallBroker(absl::FunctionRef<void(amqp_connection_state_t, amqp_channel_t)> call);
  static void DeleteQueue(const std::string& name);

  static QueueStats Stats(const std::string& queue);
  // Publishes to queues by the default exchange; all must be confirmed.
  static void PublishAll(const std::vector<OutboundMessage>& messages);
};

// To a queue, by the default exchange.
OutboundMessage MessageTo(const std::string& queue, const std::string& message_id, const std::string& body = "body");
// Receives until there are `count` or the limit is over.
std::vector<InboundMessage> ReceiveCount(Consumer& consumer, size_t count, absl::Duration limit = absl::Seconds(10));

}  // namespace carillon::testing
