// The publisher that RabbitMQ provides.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "carillon/ports/broker.h"
#include "carillon/rabbitmq/connection.h"
#include "carillon/rabbitmq/options.h"

namespace carillon {

// Publishes over one connection, which is made by the call that needs it.
// Confirms are pipelined: a bounded number of messages and bytes is on its way.
//
// When the broker blocks publishing (short of memory or disk), what is on its
// way stays so and nothing more is written: Publish answers kUnknown after its
// timeout, over the same connection, until the broker has recovered. Any other
// timeout or error drops the connection. Service tells why, once.
//
// Owner thread only.
class RabbitPublisher final : public Publisher {
 public:
  explicit RabbitPublisher(RabbitOptions options) : options_(std::move(options)) {}

  absl::StatusOr<std::vector<PublishOutcome>> Publish(absl::Span<const OutboundMessage> messages,
                                                      absl::Duration timeout) override;
  // At most connect_timeout and two times call_timeout. UNAVAILABLE at once
  // while the broker blocks publishing; NOT_FOUND if it has no such exchange or queue.
  absl::Status EnsureBinding(const BindingSpec& binding) override;
  // Does not block.
  absl::Status Service() override;

 private:
  // A message that was written and not confirmed yet.
  struct InFlight {
    size_t index;  // In its round.
    size_t bytes;
    bool settled = false;
  };

  // One call of Publish.
  struct Round {
    absl::Span<const OutboundMessage> messages;
    std::vector<PublishOutcome> outcomes;
    size_t next = 0;  // The first message that was not written.
  };

  absl::Status EnsureConnected(MonotonicTime deadline);
  absl::Status Connect(MonotonicTime deadline);
  void Disconnect(absl::Status why);
  // Bindings have a channel of their own: a refusal closes it, and must not close the one that publishes.
  absl::Status EnsureBindingChannel(MonotonicTime deadline);
  absl::Status Bind(const BindingSpec& binding);

  // Waits until nothing is on its way and the broker takes messages. DEADLINE_EXCEEDED: in vain.
  absl::Status AwaitQuiet(MonotonicTime deadline);
  // Publishes the round and waits for its confirms. DEADLINE_EXCEEDED: some are missing.
  absl::Status Run(MonotonicTime deadline);
  // Writes the next messages of the round as far as the window allows. False if there were none.
  absl::StatusOr<bool> SendChunk(MonotonicTime deadline);
  bool WindowHasRoom() const;

  // Waits for a frame, then handles all that are there. False if none came.
  absl::StatusOr<bool> ReadFrames(MonotonicTime deadline);
  void HandleFrame(const amqp_frame_t& frame);
  void Settle(uint64_t tag, bool multiple, PublishOutcome outcome);
  void SettleOne(InFlight* message, PublishOutcome outcome);
  // The broker names what it returns by its content only.
  void MarkReturned(absl::string_view message_id);

  const RabbitOptions options_;
  std::unique_ptr<RabbitConnection> connection_;
  absl::Status loss_;  // Why the connection was dropped; OK once it was told.

  // All of these belong to the connection.
  amqp_channel_t channel_ = 0;
  amqp_channel_t binding_channel_ = 0;  // 0: none is open.
  std::deque<InFlight> in_flight_;
  uint64_t first_tag_ = 1;  // Of in_flight_.front().
  size_t bytes_in_flight_ = 0;
  std::pair<std::string, std::string> returned_;  // Exchange and key of the return whose header comes next.
  // Queues by exchange and key.
  absl::flat_hash_map<std::pair<std::string, std::string>, std::vector<std::string>> bindings_;

  Round* round_ = nullptr;  // Set while messages of it may be settled.
  std::string buffer_;      // Kept for its memory.
};

}  // namespace carillon
