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

namespace carillon::bench {
namespace {

using google::protobuf::internal::WireFormatLite;

constexpr int kMaxWeight = 1'000;
constexpr uint64_t kActors = 1'000;

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

std::string TemplateOf(const std::string& type) {
  v1::SendNotificationRequest request;
  request.set_type(type);
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
    uint32_t size = 0;
    if (!input.ReadVarint32(&size)) return std::nullopt;
    const auto begin = static_cast<size_t>(input.CurrentPosition());
    if (!input.Skip(static_cast<int>(size))) return std::nullopt;
    fields.push_back(message.substr(begin, size));
  }
  return fields;
}

// The last one of a field that is there at most once; nullopt if it is absent.
std::optional<absl::string_view> FieldOf(absl::string_view message, int number) {
  const std::optional<std::vector<absl::string_view>> fields = FieldsOf(message, number);
  if (!fields.has_value() || fields->empty()) return std::nullopt;
  return fields->back();
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
  for (const std::string& type : options_.types) templates_.push_back(TemplateOf(type));
}

SendRequests::Drawn SendRequests::Next(std::string& request) {
  const Drawn drawn{.user = static_cast<uint32_t>(random_.Below(options_.user_ids.size())),
                    .type = static_cast<uint32_t>(random_.Below(templates_.size()))};
  request = templates_[drawn.type];
  AppendField(v1::SendNotificationRequest::kUserIdFieldNumber, options_.user_ids[drawn.user], request);
  AppendField(v1::SendNotificationRequest::kActorIdFieldNumber, absl::StrCat("actor-", random_.Below(kActors)),
              request);
  AppendField(v1::SendNotificationRequest::kObjectIdFieldNumber, absl::StrCat("object-", made_), request);
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

absl::StatusOr<StreamEvent> ParseStreamEvent(absl::string_view event) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(event.data());
  google::protobuf::io::CodedInputStream input(bytes, static_cast<int>(event.size()));
  const uint32_t seq_tag =
      WireFormatLite::MakeTag(v1::SubscribeResponse::kSeqFieldNumber, WireFormatLite::WIRETYPE_VARINT);
  StreamEvent parsed;
  uint64_t seq = 0;
  while (const uint32_t tag = input.ReadTag()) {
    if (tag == seq_tag ? !input.ReadVarint64(&seq) : !WireFormatLite::SkipField(&input, tag)) return NoEvent();
  }
  parsed.seq = static_cast<int64_t>(seq);
  const auto item = FieldOf(event, v1::SubscribeResponse::kItemFieldNumber);
  if (!item.has_value()) return parsed;
  const auto id = FieldOf(*item, v1::FeedItem::kNotificationIdFieldNumber);
  if (!id.has_value()) return NoEvent();
  parsed.notification_id = *id;
  return parsed;
}

}  // namespace carillon::bench
