#include "server/api/raw_message.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include "absl/strings/str_cat.h"
#include "carillon/v1/feed_service.pb.h"

namespace carillon {

grpc::ByteBuffer ToByteBuffer(std::shared_ptr<const std::string> message) {
  auto* const owner = new std::shared_ptr<const std::string>(std::move(message));
  const grpc::Slice slice(
      const_cast<char*>((*owner)->data()), (*owner)->size(),
      [](void* held) { delete static_cast<std::shared_ptr<const std::string>*>(held); }, owner);
  return grpc::ByteBuffer(&slice, 1);
}

template <typename Message>
absl::StatusOr<Message> FromByteBuffer(const grpc::ByteBuffer& bytes) {
  Message message;
  // The reader wants a buffer that it could change; a copy shares the bytes.
  grpc::ByteBuffer readable = bytes;
  grpc::ProtoBufferReader reader(&readable);
  if (!reader.status().ok() || !message.ParseFromZeroCopyStream(&reader)) {
    return absl::InvalidArgumentError(absl::StrCat("the request is not a ", Message::descriptor()->name()));
  }
  return message;
}

template absl::StatusOr<v1::SubscribeRequest> FromByteBuffer(const grpc::ByteBuffer&);
template absl::StatusOr<v1::SubscribeTopicRequest> FromByteBuffer(const grpc::ByteBuffer&);
template absl::StatusOr<v1::ListFeedRequest> FromByteBuffer(const grpc::ByteBuffer&);
template absl::StatusOr<v1::ListTopicFeedRequest> FromByteBuffer(const grpc::ByteBuffer&);

}  // namespace carillon
