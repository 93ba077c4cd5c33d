#include "carillon/rabbitmq/message.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/rabbitmq/error_mapping.h"
#include "carillon/rabbitmq/frames.h"
#include "carillon/rabbitmq/handles.h"

namespace carillon {
namespace {

constexpr absl::string_view kAppHeader = "x-app";
constexpr absl::string_view kTypeHeader = "x-type";
constexpr absl::string_view kRetryCountHeader = "x-retry-count";
constexpr absl::string_view kReplayCountHeader = "x-replay-count";
constexpr absl::string_view kTraceparentHeader = "traceparent";
constexpr absl::string_view kDeathCauseHeader = "x-death-cause";
constexpr absl::string_view kErrorHeader = "x-error";
constexpr absl::string_view kBrokerDeathHeader = "x-death";
constexpr absl::string_view kContentType = "application/x-protobuf";
constexpr absl::string_view kEventContentType = "application/json";

constexpr uint8_t kPersistent = 2;
constexpr size_t kMaxShortString = 255;
// Against a header that lies about the size: more is reserved as it comes.
constexpr uint64_t kMaxBodyReserve = 1024 * 1024;

// The headers of one message, on the stack. Holds views of what it was given.
class HeaderTable {
 public:
  void AddText(absl::string_view key, absl::string_view value) {
    if (value.empty()) return;
    amqp_field_value_t& field = Add(key, AMQP_FIELD_KIND_UTF8, kTextOverhead + value.size());
    field.value.bytes = ToAmqpBytes(value);
  }
  void AddNumber(absl::string_view key, int32_t value) {
    Add(key, AMQP_FIELD_KIND_I32, sizeof(value)).value.i32 = value;
  }

  amqp_table_t table() { return {static_cast<int>(count_), entries_.data()}; }
  size_t encoded_bytes() const { return encoded_bytes_; }

 private:
  static constexpr size_t kMaxEntries = 7;
  static constexpr size_t kTextOverhead = 4;
  static constexpr size_t kEntryOverhead = 2;

  amqp_field_value_t& Add(absl::string_view key, uint8_t kind, size_t value_bytes) {
    amqp_table_entry_t& entry = entries_[count_++];
    entry.key = ToAmqpBytes(key);
    entry.value.kind = kind;
    encoded_bytes_ += kEntryOverhead + key.size() + value_bytes;
    return entry.value;
  }

  std::array<amqp_table_entry_t, kMaxEntries> entries_;
  size_t count_ = 0;
  size_t encoded_bytes_ = 0;
};

absl::Status AppendPublishMethod(amqp_channel_t channel, const OutboundMessage& message, std::string* out) {
  amqp_basic_publish_t method{};
  method.exchange = ToAmqpBytes(message.exchange);
  method.routing_key = ToAmqpBytes(message.routing_key);
  method.mandatory = message.is_event ? 0 : 1;
  return AppendMethodFrame(channel, AMQP_BASIC_PUBLISH_METHOD, &method,
                           message.exchange.size() + message.routing_key.size(), out);
}

absl::Status AppendMessageContent(amqp_channel_t channel, size_t frame_max, const OutboundMessage& message,
                                  std::string* out) {
  const absl::AlphaNum app(message.app.value());
  HeaderTable headers;
  headers.AddText(kAppHeader, app.Piece());
  headers.AddText(kTypeHeader, message.type);
  headers.AddText(kTraceparentHeader, message.traceparent);
  headers.AddText(kDeathCauseHeader, message.reason);
  headers.AddText(kErrorHeader, message.error);
  if (message.retry_count > 0) headers.AddNumber(kRetryCountHeader, message.retry_count);
  if (message.replay_count > 0) headers.AddNumber(kReplayCountHeader, message.replay_count);

  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                      AMQP_BASIC_MESSAGE_ID_FLAG;
  properties.content_type = ToAmqpBytes(message.is_event ? kEventContentType : kContentType);
  properties.headers = headers.table();
  properties.delivery_mode = kPersistent;
  properties.message_id = ToAmqpBytes(message.message_id);
  return AppendContentFrames(channel, frame_max, &properties, headers.encoded_bytes() + message.message_id.size(),
                             message.body, out);
}

bool IsText(const amqp_field_value_t& value) {
  return value.kind == AMQP_FIELD_KIND_UTF8 || value.kind == AMQP_FIELD_KIND_BYTES;
}

std::optional<int64_t> NumberOf(const amqp_field_value_t& value) {
  switch (value.kind) {
    case AMQP_FIELD_KIND_I8:
      return value.value.i8;
    case AMQP_FIELD_KIND_U8:
      return value.value.u8;
    case AMQP_FIELD_KIND_I16:
      return value.value.i16;
    case AMQP_FIELD_KIND_U16:
      return value.value.u16;
    case AMQP_FIELD_KIND_I32:
      return value.value.i32;
    case AMQP_FIELD_KIND_U32:
      return value.value.u32;
    case AMQP_FIELD_KIND_I64:
      return value.value.i64;
    case AMQP_FIELD_KIND_U64:
      return static_cast<int64_t>(value.value.u64);
    default:
      return std::nullopt;
  }
}

std::string TextOf(const amqp_field_value_t& value) {
  if (IsText(value)) return std::string(FromAmqpBytes(value.value.bytes));
  const std::optional<int64_t> number = NumberOf(value);
  return number.has_value() ? absl::StrCat(*number) : "";
}

const amqp_field_value_t* Find(const amqp_table_t& table, absl::string_view key) {
  for (int i = 0; i < table.num_entries; ++i) {
    if (FromAmqpBytes(table.entries[i].key) == key) return &table.entries[i].value;
  }
  return nullptr;
}

std::string FindText(const amqp_table_t& table, absl::string_view key) {
  const amqp_field_value_t* const value = Find(table, key);
  return value != nullptr ? TextOf(*value) : "";
}

// Whoever sent it: a number, or text that is one. Anything else counts as none.
int FindCount(const amqp_table_t& table, absl::string_view header) {
  int count = 0;
  if (!absl::SimpleAtoi(FindText(table, header), &count)) return 0;
  return std::max(count, 0);
}

// The broker's list of deaths begins with the newest.
std::string FindBrokerReason(const amqp_table_t& table) {
  const amqp_field_value_t* const deaths = Find(table, kBrokerDeathHeader);
  if (deaths == nullptr || deaths->kind != AMQP_FIELD_KIND_ARRAY || deaths->value.array.num_entries == 0) return "";
  const amqp_field_value_t& newest = deaths->value.array.entries[0];
  return newest.kind == AMQP_FIELD_KIND_TABLE ? FindText(newest.value.table, "reason") : "";
}

void ReadHeaders(const amqp_table_t& headers, InboundMessage* message) {
  message->app = FindText(headers, kAppHeader);
  message->type = FindText(headers, kTypeHeader);
  message->retry_count = FindCount(headers, kRetryCountHeader);
  message->replay_count = FindCount(headers, kReplayCountHeader);
  message->traceparent = FindText(headers, kTraceparentHeader);
  message->reason = FindText(headers, kDeathCauseHeader);
  if (message->reason.empty()) message->reason = FindBrokerReason(headers);
  message->error = FindText(headers, kErrorHeader);
}

InboundMessage BeginMessage(const amqp_basic_deliver_t& delivery) {
  InboundMessage message;
  message.tag = delivery.delivery_tag;
  message.queue = std::string(FromAmqpBytes(delivery.consumer_tag));
  message.exchange = std::string(FromAmqpBytes(delivery.exchange));
  message.routing_key = std::string(FromAmqpBytes(delivery.routing_key));
  message.redelivered = delivery.redelivered != 0;
  return message;
}

}  // namespace

absl::Status AppendPublishFrames(amqp_channel_t channel, size_t frame_max, const OutboundMessage& message,
                                 std::string* out) {
  for (const std::string* name : {&message.exchange, &message.routing_key, &message.message_id}) {
    if (name->size() > kMaxShortString) return absl::InvalidArgumentError("a name of a message exceeds 255 bytes");
  }
  const size_t start = out->size();
  absl::Status status = AppendPublishMethod(channel, message, out);
  if (status.ok()) status = AppendMessageContent(channel, frame_max, message, out);
  if (!status.ok()) out->resize(start);
  return status;
}

absl::StatusOr<std::optional<InboundMessage>> DeliveryAssembler::Take(const amqp_frame_t& frame) {
  switch (frame.frame_type) {
    case AMQP_FRAME_METHOD:
      if (frame.payload.method.id != AMQP_BASIC_DELIVER_METHOD) return std::nullopt;
      message_ = BeginMessage(*static_cast<const amqp_basic_deliver_t*>(frame.payload.method.decoded));
      body_size_.reset();
      return std::nullopt;
    case AMQP_FRAME_HEADER:
      RETURN_IF_ERROR(TakeHeader(frame));
      break;
    case AMQP_FRAME_BODY:
      RETURN_IF_ERROR(TakeBody(frame));
      break;
    default:
      return std::nullopt;
  }
  if (message_->body.size() < *body_size_) return std::nullopt;
  body_size_.reset();
  return std::exchange(message_, std::nullopt);
}

void DeliveryAssembler::Reset() {
  message_.reset();
  body_size_.reset();
}

absl::Status DeliveryAssembler::TakeHeader(const amqp_frame_t& frame) {
  if (!message_.has_value() || body_size_.has_value()) return RabbitUnavailable("a header without a delivery");
  body_size_ = frame.payload.properties.body_size;
  message_->body.reserve(std::min(*body_size_, kMaxBodyReserve));
  const auto& properties = *static_cast<const amqp_basic_properties_t*>(frame.payload.properties.decoded);
  if (properties._flags & AMQP_BASIC_MESSAGE_ID_FLAG) {
    message_->message_id = std::string(FromAmqpBytes(properties.message_id));
  }
  if (properties._flags & AMQP_BASIC_HEADERS_FLAG) ReadHeaders(properties.headers, &*message_);
  return absl::OkStatus();
}

absl::Status DeliveryAssembler::TakeBody(const amqp_frame_t& frame) {
  const absl::string_view part = FromAmqpBytes(frame.payload.body_fragment);
  if (!body_size_.has_value() || message_->body.size() + part.size() > *body_size_) {
    return RabbitUnavailable("a body that does not fit its header");
  }
  message_->body.append(part.data(), part.size());
  return absl::OkStatus();
}

}  // namespace carillon
