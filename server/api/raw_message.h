// Messages of methods that gRPC hands over as bytes, so that one serialised
// answer serves many. Free functions; thread-safe.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace carillon {

// Without a copy: the slice holds the message that all share.
grpc::ByteBuffer ToByteBuffer(std::shared_ptr<const std::string> message);

// INVALID_ARGUMENT if the bytes are not such a message. Made for the messages in
// raw_message.cc.
template <typename Message>
absl::StatusOr<Message> FromByteBuffer(const grpc::ByteBuffer& bytes);

}  // namespace carillon
