#include "server/api/send_request.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/gathering.h"
#include "carillon/domain/limits.h"
#include "carillon/runtime/secrets.h"
#include "carillon/wire/envelope.h"
#include "carillon/wire/struct_json.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using google::protobuf::util::TimeUtil;

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

std::optional<absl::Duration> CheckTtl(const v1::SendNotificationRequest& request, const NotificationType* type,
                                       Violations& violations) {
  if (!request.has_ttl()) return type == nullptr ? std::nullopt : type->ttl;
  const absl::Duration ttl = ToDuration(request.ttl());
  if (ttl < limits::kMinTtl || ttl > limits::kMaxTtl) violations.Add("ttl", "must be 1 s to 365 days");
  return ttl;
}

// Absent: at once. Microseconds, as it is stored.
std::optional<absl::Time> CheckSendTime(const v1::SendNotificationRequest& request, absl::Time now,
                                        Violations& violations) {
  // Years 1 to 9999, as protobuf has it.
  constexpr int64_t kFirstSecond = -62'135'596'800;
  constexpr int64_t kLastSecond = 253'402'300'799;
  if (!request.has_send_time()) return std::nullopt;
  const google::protobuf::Timestamp& asked = request.send_time();
  if (asked.seconds() < kFirstSecond || asked.seconds() > kLastSecond || asked.nanos() < 0 ||
      asked.nanos() > 999'999'999) {
    violations.Add("send_time", "must be a valid time");
    return std::nullopt;
  }
  const absl::Time time = absl::FromUnixSeconds(asked.seconds()) + absl::Microseconds(asked.nanos() / 1000);
  if (time > now + limits::kMaxSendDelay) violations.Add("send_time", "must be at most 365 days ahead");
  return time > now ? std::make_optional(time) : std::nullopt;
}

// Each part with its length before it, so that no two lists of parts look alike.
void AppendPart(absl::string_view part, std::string& text) { absl::StrAppend(&text, part.size(), ":", part); }

// What was cancelled had not.
bool HasLeftOutbox(const NotificationRecord& record) {
  return record.state != State::kAccepted && record.state != State::kScheduled && record.state != State::kCancelled;
}

v1::TimelineEntry* AddEntry(v1::State state, std::optional<absl::Time> time, v1::Notification* out) {
  v1::TimelineEntry* entry = out->add_timeline();
  entry->set_state(state);
  if (time.has_value()) *entry->mutable_time() = ToTimestamp(*time);
  return entry;
}

}  // namespace

std::string CheckData(const google::protobuf::Struct& data, Violations& violations) {
  if (data.fields().empty()) return "";
  absl::StatusOr<std::string> json = StructToJson(data);
  if (json.ok()) return *std::move(json);
  violations.Add("data", json.status().message());
  return "";
}

NewNotification PrepareSend(const v1::SendNotificationRequest& request, const SendOrigin& origin,
                            const Catalogue& catalogue, Violations& violations) {
  NewNotification prepared;
  Notification& n = prepared.notification;
  std::shared_ptr<const NotificationType> type;
  if (violations.CheckName("type", request.type(), limits::kMaxTypeNameBytes)) {
    type = catalogue.Find(origin.app, request.type());
    if (type == nullptr) violations.AddUnknownType("type", request.type());
  }
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  violations.CheckId("actor_id", request.actor_id(), /*required=*/false);
  violations.CheckId("object_id", request.object_id(), /*required=*/false);
  violations.CheckId("idempotency_key", request.idempotency_key(), /*required=*/false);
  n.send_time = CheckSendTime(request, origin.time, violations);
  n.channels = CheckChannels(request.channels(), violations);
  if (n.channels.empty() && type != nullptr) n.channels = type->channels;
  n.data_json = CheckData(request.data(), violations);
  const std::optional<absl::Duration> ttl = CheckTtl(request, type.get(), violations);
  if (type == nullptr || !violations.empty()) return prepared;

  // By our clock, as slices and the sweep are.
  const absl::Time now = origin.time - origin.clock_offset;
  if (n.send_time.has_value()) prepared.due_time = *n.send_time - origin.clock_offset;
  // Retention counts from the time in the id: that of sending, except where clocks are moved (ADR 0026).
  n.id = NewUuid7(catalogue.PolicyOf(origin.app)->sandbox ? now : prepared.due_time.value_or(now));
  n.app = origin.app;
  n.lane = type->lane;
  n.type = type->name;
  n.recipient = RecipientId(request.user_id());
  n.actor_id = request.actor_id();
  n.object_id = request.object_id();
  n.retention_days = type->retention_days;
  // What is stored and what is answered agree to the microsecond.
  n.create_time = absl::FromUnixMicros(absl::ToUnixMicros(origin.time));
  n.traceparent = origin.traceparent;
  if (ttl.has_value()) n.expire_time = n.send_time.value_or(n.create_time) + *ttl;
  prepared.exchange = type->exchange;
  prepared.routing_key = type->routing_key;
  prepared.idempotency_key = request.idempotency_key();
  if (!prepared.idempotency_key.empty()) prepared.payload_hash = PayloadHash(n, request);
  prepared.takes_version = IsGathered(*type, n);
  if (!prepared.takes_version) prepared.envelope = EncodeEnvelope(n);
  return prepared;
}

std::string PayloadHash(const Notification& notification, const v1::SendNotificationRequest& request) {
  std::string text;
  AppendPart(notification.type, text);
  AppendPart(notification.recipient.value(), text);
  AppendPart(notification.actor_id, text);
  AppendPart(notification.object_id, text);
  AppendPart(notification.data_json, text);
  std::vector<int> channels(request.channels().begin(), request.channels().end());
  std::sort(channels.begin(), channels.end());
  for (const int channel : channels) AppendPart(absl::StrCat("channel", channel), text);
  if (request.has_ttl()) AppendPart(absl::StrCat("ttl", request.ttl().seconds(), ".", request.ttl().nanos()), text);
  if (request.has_send_time()) {
    AppendPart(absl::StrCat("send_time", request.send_time().seconds(), ".", request.send_time().nanos()), text);
  }
  return HashSecret(text);
}

void FillSendResponse(const v1::SendNotificationRequest& request, const NewNotification& sent,
                      const AcceptOutcome& outcome, v1::SendNotificationResponse* response) {
  // The payload is the first one's, or it would have been refused: only what the
  // first acceptance gave out differs.
  const Notification& n = sent.notification;
  v1::Notification* out = response->mutable_notification();
  out->set_notification_id(outcome.id.ToString());
  out->set_type(n.type);
  out->set_user_id(n.recipient.value());
  out->set_actor_id(n.actor_id);
  out->set_object_id(n.object_id);
  if (request.has_data()) *out->mutable_data() = request.data();
  for (const Channel channel : n.channels) out->add_channels(static_cast<v1::Channel>(channel));
  out->set_idempotency_key(request.idempotency_key());
  *out->mutable_create_time() = ToTimestamp(outcome.create_time);
  // A repeat may come after the time that the first one was scheduled for.
  const absl::Time asked = absl::FromUnixMicros(TimeUtil::TimestampToMicroseconds(request.send_time()));
  const bool was_scheduled = n.send_time.has_value() || (outcome.duplicate && asked > outcome.create_time);
  out->set_state(was_scheduled ? v1::STATE_SCHEDULED : v1::STATE_ACCEPTED);
  if (n.expire_time.has_value()) {
    const absl::Duration life = *n.expire_time - n.send_time.value_or(n.create_time);
    *out->mutable_expire_time() = ToTimestamp((was_scheduled ? asked : outcome.create_time) + life);
  }
  response->set_duplicate(outcome.duplicate);
}

void ToProto(const NotificationRecord& record, v1::Notification* out) {
  const Notification& n = record.notification;
  out->set_notification_id(n.id.ToString());
  out->set_type(n.type);
  out->set_user_id(n.recipient.value());
  out->set_actor_id(n.actor_id);
  out->set_object_id(n.object_id);
  if (!n.data_json.empty()) JsonToStruct(n.data_json, out->mutable_data());
  for (const Channel channel : n.channels) out->add_channels(static_cast<v1::Channel>(channel));
  out->set_state(static_cast<v1::State>(record.state));
  out->set_idempotency_key(record.idempotency_key);
  *out->mutable_create_time() = ToTimestamp(n.create_time);
  if (n.expire_time.has_value()) *out->mutable_expire_time() = ToTimestamp(*n.expire_time);
}

void AddTimeline(const NotificationRecord& record, v1::Notification* out) {
  AddEntry(v1::STATE_ACCEPTED, record.notification.create_time, out);
  if (record.notification.send_time.has_value()) AddEntry(v1::STATE_SCHEDULED, record.notification.send_time, out);
  if (record.release_time.has_value()) {
    AddEntry(v1::STATE_ACCEPTED, record.release_time, out)->set_detail("its send time had come");
  }
  // Without a time: that it left the outbox is derived, not written.
  if (HasLeftOutbox(record)) AddEntry(v1::STATE_QUEUED, std::nullopt, out);
  for (const HistoryEntry& step : record.history) {
    v1::TimelineEntry* entry = AddEntry(v1::STATE_QUEUED, step.time, out);
    entry->set_attempt(step.attempt);
    entry->set_detail(step.detail);
  }
  if (IsTerminal(record.state)) {
    AddEntry(static_cast<v1::State>(record.state), record.finish_time.value_or(record.notification.create_time), out)
        ->set_detail(record.detail);
  }
}

}  // namespace carillon
