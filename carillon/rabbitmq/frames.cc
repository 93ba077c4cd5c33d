#include "carillon/rabbitmq/frames.h"

#include <algorithm>

#include "carillon/rabbitmq/error_mapping.h"

namespace carillon {
namespace {

// type, channel, size; then the payload; then the end mark.
constexpr size_t kFrameHeaderBytes = 7;
constexpr size_t kFrameOverheadBytes = kFrameHeaderBytes + 1;
// The fixed fields of any method or header that is encoded here, with room to spare.
constexpr size_t kFixedFieldsBytes = 256;

template <typename Integer>
void StoreBigEndian(Integer value, char* at) {
  for (size_t i = 0; i < sizeof(Integer); ++i) {
    at[i] = static_cast<char>(value >> (8 * (sizeof(Integer) - 1 - i)));
  }
}

void StoreFrameHeader(uint8_t type, amqp_channel_t channel, size_t payload_bytes, char* at) {
  at[0] = static_cast<char>(type);
  StoreBigEndian<uint16_t>(channel, at + 1);
  StoreBigEndian<uint32_t>(static_cast<uint32_t>(payload_bytes), at + 3);
}

// Appends a frame whose payload is `prefix` and what `encode` writes after it
// into at most `room` bytes.
template <typename Encode>
absl::Status AppendFrame(uint8_t type, amqp_channel_t channel, absl::string_view prefix, size_t room, Encode encode,
                         std::string* out) {
  const size_t start = out->size();
  out->resize(start + kFrameOverheadBytes + prefix.size() + room);
  char* const payload = out->data() + start + kFrameHeaderBytes;
  std::copy(prefix.begin(), prefix.end(), payload);
  const int encoded = encode(amqp_bytes_t{room, payload + prefix.size()});
  if (encoded < 0) {
    out->resize(start);
    return StatusFromLibrary(encoded, "encoding a frame");
  }
  const size_t payload_bytes = prefix.size() + static_cast<size_t>(encoded);
  StoreFrameHeader(type, channel, payload_bytes, out->data() + start);
  payload[payload_bytes] = static_cast<char>(AMQP_FRAME_END);
  out->resize(start + kFrameOverheadBytes + payload_bytes);
  return absl::OkStatus();
}

void AppendBodyFrame(amqp_channel_t channel, absl::string_view part, std::string* out) {
  char header[kFrameHeaderBytes];
  StoreFrameHeader(AMQP_FRAME_BODY, channel, part.size(), header);
  out->append(header, kFrameHeaderBytes);
  out->append(part.data(), part.size());
  out->push_back(static_cast<char>(AMQP_FRAME_END));
}

}  // namespace

absl::Status AppendMethodFrame(amqp_channel_t channel, amqp_method_number_t method, void* arguments, size_t size_hint,
                               std::string* out) {
  char prefix[4];
  StoreBigEndian<uint32_t>(method, prefix);
  return AppendFrame(
      AMQP_FRAME_METHOD, channel, {prefix, sizeof(prefix)}, kFixedFieldsBytes + size_hint,
      [&](amqp_bytes_t buffer) { return amqp_encode_method(method, arguments, buffer); }, out);
}

absl::Status AppendContentFrames(amqp_channel_t channel, size_t frame_max, amqp_basic_properties_t* properties,
                                 size_t size_hint, absl::string_view body, std::string* out) {
  const size_t start = out->size();
  // The class, a weight that is always zero, and the size of the body.
  char prefix[12] = {};
  StoreBigEndian<uint16_t>(AMQP_BASIC_CLASS, prefix);
  StoreBigEndian<uint64_t>(body.size(), prefix + 4);
  absl::Status status = AppendFrame(
      AMQP_FRAME_HEADER, channel, {prefix, sizeof(prefix)}, kFixedFieldsBytes + size_hint,
      [&](amqp_bytes_t buffer) { return amqp_encode_properties(AMQP_BASIC_CLASS, properties, buffer); }, out);
  if (!status.ok()) return status;
  if (out->size() - start > frame_max) {
    out->resize(start);
    return absl::InvalidArgumentError("the headers of a message exceed a frame");
  }
  const size_t part_bytes = frame_max - kFrameOverheadBytes;
  for (; !body.empty(); body.remove_prefix(std::min(part_bytes, body.size()))) {
    AppendBodyFrame(channel, body.substr(0, part_bytes), out);
  }
  return absl::OkStatus();
}

void AppendHeartbeatFrame(std::string* out) {
  char header[kFrameHeaderBytes];
  StoreFrameHeader(AMQP_FRAME_HEARTBEAT, 0, 0, header);
  out->append(header, kFrameHeaderBytes);
  out->push_back(static_cast<char>(AMQP_FRAME_END));
}

void AppendAckFrame(amqp_channel_t channel, uint64_t tag, bool multiple, std::string* out) {
  amqp_basic_ack_t ack{.delivery_tag = tag, .multiple = multiple};
  // Fixed fields only: encoding them can't fail.
  AppendMethodFrame(channel, AMQP_BASIC_ACK_METHOD, &ack, 0, out).IgnoreError();
}

}  // namespace carillon
