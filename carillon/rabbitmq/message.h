// Messages as AMQP carries them.
//
// Headers: x-app, x-type, x-retry-count, x-replay-count, traceparent, x-death-cause, x-error. What
// the broker adds to dead letters (x-death, x-first-death-*, x-delivery-count) is
// never sent on: it would take a replayed message for one that goes in circles.
#pragma once

#include <amqp.h>
#include <amqp_framing.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "carillon/ports/broker.h"

namespace carillon {

// Appends the frames that publish `message`, persistent and mandatory.
// INVALID_ARGUMENT, and *out as it was, if AMQP can't carry it (a name longer
// than 255 bytes, headers longer than a frame).
absl::Status AppendPublishFrames(amqp_channel_t channel, size_t frame_max, const OutboundMessage& message,
                                 std::string* out);

// Puts the messages of one channel together from their frames: basic.deliver,
// a header, bodies.
class DeliveryAssembler {
 public:
  // The message that is complete with this frame, if any. Frames of other
  // methods are ignored. UNAVAILABLE if the frames do not fit together.
  absl::StatusOr<std::optional<InboundMessage>> Take(const amqp_frame_t& frame);
  // Forgets a message that was begun.
  void Reset();

 private:
  absl::Status TakeHeader(const amqp_frame_t& frame);
  absl::Status TakeBody(const amqp_frame_t& frame);

  std::optional<InboundMessage> message_;  // Begun by basic.deliver.
  std::optional<uint64_t> body_size_;      // Known from the header.
};

}  // namespace carillon
