// Encodes what is sent without waiting for an answer, so that many messages
// leave in one write whose time is bounded. (librabbitmq's own sending waits
// without limit for a broker that has stopped reading.)
#pragma once

#include <amqp.h>
#include <amqp_framing.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace carillon {

// Each appends whole frames to *out, or leaves it as it was and fails.

// `size_hint`: the bytes of the method's variable fields.
absl::Status AppendMethodFrame(amqp_channel_t channel, amqp_method_number_t method, void* arguments, size_t size_hint,
                               std::string* out);
// The header and the body of a message; `size_hint`: the bytes of the properties.
absl::Status AppendContentFrames(amqp_channel_t channel, size_t frame_max, amqp_basic_properties_t* properties,
                                 size_t size_hint, absl::string_view body, std::string* out);
void AppendHeartbeatFrame(std::string* out);
void AppendAckFrame(amqp_channel_t channel, uint64_t tag, bool multiple, std::string* out);

}  // namespace carillon
