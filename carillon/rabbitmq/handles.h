// Owners of what librabbitmq hands out, and its view of text.
#pragma once

#include <amqp.h>

#include <memory>

#include "absl/strings/string_view.h"

namespace carillon {

struct AmqpConnectionDeleter {
  // Drops the socket without a word to the broker.
  void operator()(amqp_connection_state_t state) const { amqp_destroy_connection(state); }
};
using AmqpConnectionPtr = std::unique_ptr<amqp_connection_state_t_, AmqpConnectionDeleter>;

// Views, valid as long as what they look at.
inline amqp_bytes_t ToAmqpBytes(absl::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }
inline absl::string_view FromAmqpBytes(const amqp_bytes_t& bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

}  // namespace carillon
