// How to reach RabbitMQ.
#pragma once

#include <string>

#include "absl/time/time.h"

namespace carillon {

struct RabbitOptions {
  std::string url;          // amqp://user:password@host:port/vhost (%2f is "/").
  std::string client_name;  // Shown by the broker's tools.
  absl::Duration connect_timeout = absl::Seconds(3);
  // Sent to the broker; a peer that is silent for twice as long is dead.
  absl::Duration heartbeat = absl::Seconds(15);
  // For declarations and other calls that wait for an answer.
  absl::Duration call_timeout = absl::Seconds(10);
};

}  // namespace carillon
