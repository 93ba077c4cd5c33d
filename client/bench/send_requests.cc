#include "client/bench/send_requests.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/v1/notification_service.pb.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

using google::protobuf::internal::WireFormatLite;

constexpr int kMaxWeight = 1'000;
constexpr uint64_t kActors = 1'000;
constexpr absl::string_view kStamp = "@";

// What the shipped templates show of each type.
const std::map<std::string, std::map<std::string, std::string>>& DataByType() {
  static const auto* const data = new std::map<std::string, std::map<std::string, std::string>>{
      {"follow", {{"actor_name", "Ada Lovelace"}}},
      {"like", {{"actor_name", "Ada Lovelace"}, {"excerpt", "A walk by the sea"}}},
      {"comment", {{"actor_name", "Ada Lovelace"}, {"text", "What a view!"}}},
      {"chat.message", {{"actor_name", "Ada Lovelace"}, {"text", "See you at nine?"}}},
      {"stream.start", {{"actor_name", "Ada Lovelace"}, {"title", "Bells, live"}}},
      {"otp.login", {{"code", "428 193"}}},
      {"otp.password_reset", {{"code", "428 193"}}},
      {"payment.receipt", {{"amount", "12.50"}, {"currency", "EUR"}}},
      {"payment.failed", {{"amount", "12.50"}, {"currency", "EUR"}}},
      {"marketing.discount", {{"title", "20 % off"}, {"text", "Until Sunday"}, {"link", "https://example.org/offers"}}},
      {"marketing.digest", {{"title", "Your week"}, {"text", "Ten bells"}, {"link", "https://example.org/week"}}},
  };
  return *data;
}

std::string TemplateOf(const std::string& type, const std::vector<v1::Channel>& channels = {}) {
  v1::SendNotificationRequest request;
  request.set_type(type);
  for (const v1::Channel channel : channels) request.add_channels(channel);
  const auto found = DataByType().find(type);
  if (found != DataByType().end()) {
    for (const auto& [name, value] : found->second) {
      (*request.mutable_data()->mutable_fields())[name].set_string_value(value);
    }
  }
  return request.SerializeAsString();
}

void AppendVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void AppendField(int number, absl::string_view bytes, std::string& out) {
  AppendVarint(WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED), out);
  AppendVarint(bytes.size(), out);
  out.append(bytes.data(), bytes.size());
}

// The value of the field whose tag was read; a view of `message`, which `input` reads.
bool ReadField(absl::string_view message, google::protobuf::io::CodedInputStream& input, absl::string_view& value) {
  uint32_t size = 0;
  if (!input.ReadVarint32(&size)) return false;
  const auto begin = static_cast<size_t>(input.CurrentPosition());
  if (!input.Skip(static_cast<int>(size))) return false;
  value = message.substr(begin, size);
  return true;
}

// The values of a length-delimited field of a message; nullopt if it is malformed.
std::optional<std::vector<absl::string_view>> FieldsOf(absl::string_view message, int number) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(message.data());
  google::protobuf::io::CodedInputStream input(bytes, static_cast<int>(message.size()));
  const uint32_t wanted = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  std::vector<absl::string_view> fields;
  while (const uint32_t tag = input.ReadTag()) {
    if (tag != wanted) {
      if (!WireFormatLite::SkipField(&input, tag)) return std::nullopt;
      continue;
    }
    absl::string_view field;
    if (!ReadField(message, input, field)) return std::nullopt;
    fields.push_back(field);
  }
  return fields;
}

// The last one of a field that is there at most once; nullopt if it is absent.
std::optional<absl::string_view> FieldOf(absl::string_view message, int number) {
  const std::optional<std::vector<absl::string_view>> fields = FieldsOf(message, number);
  if (!fields.has_value() || fields->empty()) return std::nullopt;
  return fields->back();
}

constexpr uint32_t TagOf(int number) {
  return static_cast<uint32_t>(number) << 3 | WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
}
constexpr uint32_t kSeqTag = v1::SubscribeResponse::kSeqFieldNumber << 3 | WireFormatLite::WIRETYPE_VARINT;
constexpr uint32_t kItemTag = TagOf(v1::SubscribeResponse::kItemFieldNumber);
constexpr uint32_t kIdTag = TagOf(v1::FeedItem::kNotificationIdFieldNumber);
constexpr uint32_t kObjectTag = TagOf(v1::FeedItem::kObjectIdFieldNumber);

// In one pass: a stream may bring tens of thousands a second.
bool ParseItem(absl::string_view item, StreamEvent& parsed) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(item.data());
  google::protobuf::io::CodedInputStream input(bytes, static_cast<int>(item.size()));
  while (const uint32_t tag = input.ReadTag()) {
    const bool read = tag == kIdTag       ? ReadField(item, input, parsed.notification_id)
                      : tag == kObjectTag ? ReadField(item, input, parsed.object_id)
                                          : WireFormatLite::SkipField(&input, tag);
    if (!read) return false;
  }
  return input.ConsumedEntireMessage() && !parsed.notification_id.empty();
}

absl::Status NoEvent() { return absl::InvalidArgumentError("not an event of a live stream"); }

absl::Status NoAnswer() { return absl::InvalidArgumentError("the answer to a send holds no notification_id"); }

}  // namespace

absl::StatusOr<std::vector<std::string>> WeightedTypes(const std::vector<std::string>& types) {
  std::vector<std::string> expanded;
  for (const std::string& type : types) {
    const std::vector<std::string> parts = absl::StrSplit(type, '=');
    int weight = 1;
    if (parts.size() > 2 || parts[0].empty() ||
        (parts.size() == 2 && (!absl::SimpleAtoi(parts[1], &weight) || weight < 1 || weight > kMaxWeight))) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", type, "': a type, or type=weight with a weight of 1 to 1000"));
    }
    expanded.insert(expanded.end(), static_cast<size_t>(weight), parts[0]);
  }
  if (expanded.empty()) return absl::InvalidArgumentError("there is no type to draw from");
  return expanded;
}

std::vector<std::string> UserIds(const std::string& run_name, int users) {
  std::vector<std::string> ids;
  for (int user = 0; user < users; ++user) ids.push_back(absl::StrFormat("%s-user-%07d", run_name, user));
  return ids;
}

SendRequests::SendRequests(Options options) : options_(std::move(options)), random_(options_.seed) {
  for (const std::string& type : options_.types) {
    const auto channels = options_.channels.find(type);
    templates_.push_back(channels == options_.channels.end() ? TemplateOf(type) : TemplateOf(type, channels->second));
  }
}

SendRequests::Drawn SendRequests::Next(std::string& request) {
  const Drawn drawn{.user = static_cast<uint32_t>(random_.Below(options_.user_ids.size())),
                    .type = static_cast<uint32_t>(random_.Below(templates_.size()))};
  request = templates_[drawn.type];
  AppendField(v1::SendNotificationRequest::kUserIdFieldNumber, options_.user_ids[drawn.user], request);
  AppendField(v1::SendNotificationRequest::kActorIdFieldNumber, absl::StrCat("actor-", random_.Below(kActors)),
              request);
  AppendField(v1::SendNotificationRequest::kObjectIdFieldNumber,
              options_.stamped ? StampedObject(options_.run_name, MonotonicNow()) : absl::StrCat("object-", made_),
              request);
  if (options_.keys) {
    AppendField(v1::SendNotificationRequest::kIdempotencyKeyFieldNumber,
                absl::StrCat(options_.run_name, "-send-", made_), request);
  }
  ++made_;
  return drawn;
}

std::vector<SendRequests::Drawn> SendRequests::NextBatch(int size, std::string& batch) {
  std::vector<Drawn> drawn;
  drawn.reserve(static_cast<size_t>(size));
  batch.clear();
  for (int i = 0; i < size; ++i) {
    drawn.push_back(Next(one_));
    AppendField(v1::BatchSendNotificationsRequest::kRequestsFieldNumber, one_, batch);
  }
  return drawn;
}

std::string StampedObject(absl::string_view run_name, absl::Duration now) {
  return absl::StrCat(run_name, kStamp, absl::ToInt64Microseconds(now));
}

std::optional<absl::Duration> StampOf(absl::string_view object_id) {
  const size_t at = object_id.rfind(kStamp);
  int64_t microseconds = 0;
  if (at == absl::string_view::npos || !absl::SimpleAtoi(object_id.substr(at + kStamp.size()), &microseconds)) {
    return std::nullopt;
  }
  return absl::Microseconds(microseconds);
}

absl::StatusOr<std::vector<absl::string_view>> IdsInSendAnswer(absl::string_view answer) {
  const auto notification = FieldOf(answer, v1::SendNotificationResponse::kNotificationFieldNumber);
  if (!notification.has_value()) return NoAnswer();
  const auto id = FieldOf(*notification, v1::Notification::kNotificationIdFieldNumber);
  if (!id.has_value()) return NoAnswer();
  return std::vector<absl::string_view>{*id};
}

absl::StatusOr<std::vector<absl::string_view>> IdsInBatchAnswer(absl::string_view answer) {
  const auto responses = FieldsOf(answer, v1::BatchSendNotificationsResponse::kResponsesFieldNumber);
  if (!responses.has_value()) return NoAnswer();
  std::vector<absl::string_view> ids;
  for (const absl::string_view response : *responses) {
    const absl::StatusOr<std::vector<absl::string_view>> one = IdsInSendAnswer(response);
    if (!one.ok()) return one.status();
    ids.push_back(one->front());
  }
  return ids;
}

std::string OneForEach(absl::Span<const std::string> user_ids, absl::string_view run_name) {
  const std::string like = TemplateOf("like");
  std::string batch, one;
  for (const std::string& user_id : user_ids) {
    one = like;
    AppendField(v1::SendNotificationRequest::kUserIdFieldNumber, user_id, one);
    AppendField(v1::SendNotificationRequest::kActorIdFieldNumber, "actor-1", one);
    AppendField(v1::SendNotificationRequest::kObjectIdFieldNumber, StampedObject(run_name, MonotonicNow()), one);
    AppendField(v1::BatchSendNotificationsRequest::kRequestsFieldNumber, one, batch);
  }
  return batch;
}

std::optional<int64_t> LastSeqInTopicAnswer(absl::string_view answer) {
  constexpr uint32_t kLastSeqTag =
      v1::ListTopicFeedResponse::kLastSeqFieldNumber << 3 | WireFormatLite::WIRETYPE_VARINT;
  const auto* bytes = reinterpret_cast<const uint8_t*>(answer.data());
  google::protobuf::io::CodedInputStream input(bytes, static_cast<int>(answer.size()));
  uint64_t last_seq = 0;
  while (const uint32_t tag = input.ReadTag()) {
    const bool read = tag == kLastSeqTag ? input.ReadVarint64(&last_seq) : WireFormatLite::SkipField(&input, tag);
    if (!read) return std::nullopt;
  }
  if (!input.ConsumedEntireMessage()) return std::nullopt;
  return static_cast<int64_t>(last_seq);
}

absl::StatusOr<StreamEvent> ParseStreamEvent(absl::string_view event) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(event.data());
  google::protobuf::io::CodedInputStream input(bytes, static_cast<int>(event.size()));
  StreamEvent parsed;
  while (const uint32_t tag = input.ReadTag()) {
    uint64_t seq = 0;
    absl::string_view item;
    if (tag == kSeqTag) {
      if (!input.ReadVarint64(&seq)) return NoEvent();
      parsed.seq = static_cast<int64_t>(seq);
    } else if (tag == kItemTag) {
      if (!ReadField(event, input, item) || !ParseItem(item, parsed)) return NoEvent();
    } else if (!WireFormatLite::SkipField(&input, tag)) {
      return NoEvent();
    }
  }
  if (!input.ConsumedEntireMessage()) return NoEvent();
  return parsed;
}

}  // namespace carillon::bench
