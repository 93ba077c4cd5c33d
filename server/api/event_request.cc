#include "server/api/event_request.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/runtime/secrets.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using google::protobuf::util::TimeUtil;

std::vector<std::string> CheckUsers(const v1::UserList& list, Violations& violations) {
  const auto count = static_cast<size_t>(list.user_ids_size());
  if (count < 1 || count > limits::kMaxAudienceUsers) {
    violations.Add("audience.users.user_ids", absl::StrCat("must be 1 to ", limits::kMaxAudienceUsers));
    return {};
  }
  for (int i = 0; i < list.user_ids_size(); ++i) {
    violations.CheckId(absl::StrCat("audience.users.user_ids[", i, "]"), list.user_ids(i), /*required=*/true);
  }
  std::vector<std::string> users(list.user_ids().begin(), list.user_ids().end());
  std::sort(users.begin(), users.end());
  users.erase(std::unique(users.begin(), users.end()), users.end());
  return users;
}

Audience CheckAudience(const v1::Audience& in, Violations& violations) {
  switch (in.audience_case()) {
    case v1::Audience::kFollowersOf:
      violations.CheckId("audience.followers_of", in.followers_of(), /*required=*/true);
      return {.kind = AudienceKind::kFollowers, .id = in.followers_of(), .users = {}};
    case v1::Audience::kTopic:
      violations.CheckId("audience.topic", in.topic(), /*required=*/true);
      return {.kind = AudienceKind::kTopic, .id = in.topic(), .users = {}};
    case v1::Audience::kUsers:
      return {.kind = AudienceKind::kUsers, .id = "", .users = CheckUsers(in.users(), violations)};
    case v1::Audience::kEveryone:
      return {.kind = AudienceKind::kEveryone, .id = "", .users = {}};
    case v1::Audience::AUDIENCE_NOT_SET:
      break;
  }
  violations.Add("audience", "must be one of followers_of, users, topic and everyone");
  return {};
}

std::shared_ptr<const NotificationType> CheckType(const v1::PublishEventRequest& request, AppId app,
                                                  const Catalogue& catalogue, Violations& violations) {
  if (!violations.CheckName("type", request.type(), limits::kMaxTypeNameBytes)) return nullptr;
  std::shared_ptr<const NotificationType> type = catalogue.Find(app, request.type());
  if (type == nullptr) {
    violations.AddUnknownType("type", request.type());
  } else if (type->lane != Lane::kSocial && type->lane != Lane::kMarketing) {
    violations.Add("type", "must be of weight social or marketing: payment and otp types are sent to one recipient");
  } else if (std::find(type->channels.begin(), type->channels.end(), Channel::kInApp) == type->channels.end()) {
    violations.Add("type", "must have CHANNEL_IN_APP among its channels: an event's record is its feed items");
  }
  return type;
}

// Each part with its length before it, so that no two lists of parts look alike.
std::string PayloadHash(const Event& event) {
  std::string text;
  std::vector<absl::string_view> parts = {"event",           event.type,     ToString(event.audience.kind),
                                          event.audience.id, event.actor_id, event.object_id,
                                          event.data_json};
  parts.insert(parts.end(), event.audience.users.begin(), event.audience.users.end());
  for (const absl::string_view part : parts) absl::StrAppend(&text, part.size(), ":", part);
  return HashSecret(text);
}

// What is left to tell at the rate since it began. Paused events stand still.
void AddProgress(const EventRecord& record, v1::Event* out) {
  if (record.state != EventState::kExpanding || !record.start_time.has_value()) return;
  const double seconds = absl::ToDoubleSeconds(record.read_time - *record.start_time);
  if (seconds <= 0 || record.expanded == 0) return;
  const double rate = static_cast<double>(record.expanded) / seconds;
  out->set_recipients_per_second(rate);
  const int64_t left = std::max<int64_t>(0, record.audience_size - record.expanded);
  *out->mutable_remaining_time() =
      TimeUtil::MillisecondsToDuration(static_cast<int64_t>(1000.0 * static_cast<double>(left) / rate));
}

}  // namespace

NewEvent PrepareEvent(const v1::PublishEventRequest& request, const SendOrigin& origin, const Catalogue& catalogue,
                      Violations& violations) {
  NewEvent prepared;
  Event& event = prepared.event;
  const std::shared_ptr<const NotificationType> type = CheckType(request, origin.app, catalogue, violations);
  violations.CheckId("actor_id", request.actor_id(), /*required=*/false);
  violations.CheckId("object_id", request.object_id(), /*required=*/false);
  violations.CheckId("idempotency_key", request.idempotency_key(), /*required=*/false);
  event.audience = CheckAudience(request.audience(), violations);
  event.data_json = CheckData(request.data(), violations);
  if (type == nullptr || !violations.empty()) return prepared;

  event.id = NewUuid7(origin.time - origin.clock_offset);
  event.app = origin.app;
  event.lane = type->lane;
  event.type = type->name;
  event.actor_id = request.actor_id();
  event.object_id = request.object_id();
  event.retention_days = type->retention_days;
  // What is stored and what is answered agree to the microsecond.
  event.create_time = absl::FromUnixMicros(absl::ToUnixMicros(origin.time));
  event.traceparent = origin.traceparent;
  prepared.idempotency_key = request.idempotency_key();
  if (!prepared.idempotency_key.empty()) prepared.payload_hash = PayloadHash(event);
  return prepared;
}

void FillPublishResponse(const v1::PublishEventRequest& request, const NewEvent& sent, const EventOutcome& outcome,
                         v1::PublishEventResponse* response) {
  v1::Event* out = response->mutable_event();
  out->set_event_id(outcome.id.ToString());
  out->set_type(sent.event.type);
  out->set_actor_id(sent.event.actor_id);
  out->set_object_id(sent.event.object_id);
  out->set_state(v1::EVENT_STATE_ACCEPTED);
  out->set_idempotency_key(request.idempotency_key());
  *out->mutable_create_time() = ToTimestamp(outcome.create_time);
  response->set_duplicate(outcome.duplicate);
}

void ToProto(const EventRecord& record, v1::Event* out) {
  const Event& event = record.event;
  out->set_event_id(event.id.ToString());
  out->set_type(event.type);
  out->set_actor_id(event.actor_id);
  out->set_object_id(event.object_id);
  out->set_state(static_cast<v1::EventState>(record.state));
  out->set_detail(record.detail);
  out->set_shared(record.shared);
  out->set_audience_size(record.audience_size);
  out->set_expanded(record.expanded);
  for (const auto& [reason, count] : record.suppressed) (*out->mutable_suppressed())[reason] = count;
  out->set_idempotency_key(record.idempotency_key);
  *out->mutable_create_time() = ToTimestamp(event.create_time);
  if (record.finish_time.has_value()) *out->mutable_finish_time() = ToTimestamp(*record.finish_time);
  AddProgress(record, out);
}

}  // namespace carillon
