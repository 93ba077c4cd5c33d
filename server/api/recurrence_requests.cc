#include "server/api/recurrence_requests.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "carillon/domain/cron.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/wire/envelope.h"
#include "server/api/contact_checks.h"
#include "server/api/event_request.h"
#include "server/api/page_token.h"
#include "server/api/send_request.h"
#include "server/api/timestamps.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;

// Fills in cron, zone and the next time.
void CheckTimes(const v1::Recurrence& in, Recurrence& recurrence, Violations& violations) {
  recurrence.cron = in.cron();
  recurrence.time_zone =
      in.time_zone().empty() ? "" : CheckTimeZone("recurrence.time_zone", in.time_zone(), violations);
  const absl::StatusOr<CronExpression> cron = CronExpression::Parse(in.cron());
  if (!cron.ok()) return violations.Add("recurrence.cron", cron.status().message());
  if (!violations.empty()) return;
  recurrence.next_time = NextTimeOf(recurrence, recurrence.create_time).value_or(std::nullopt);
  if (!recurrence.next_time.has_value()) violations.Add("recurrence.cron", "must have a time within 10 years");
}

// As the door checks it. Each occurrence has a key of its own: what is given as one is not looked at.
void CheckSend(v1::SendNotificationRequest& send, const SendOrigin& origin, const Catalogue& catalogue,
               Violations& violations) {
  Violations own("send.");
  if (send.has_send_time()) own.Add("send_time", "must be absent: cron says when");
  send.clear_send_time();
  send.clear_idempotency_key();
  PrepareSend(send, origin, catalogue, own);
  violations.Append(own);
}

void CheckEvent(v1::PublishEventRequest& event, const SendOrigin& origin, const Catalogue& catalogue,
                Violations& violations) {
  Violations own("event.");
  event.clear_idempotency_key();
  PrepareEvent(event, origin, catalogue, own);
  violations.Append(own);
}

void CheckSize(const Recurrence& recurrence, absl::string_view field, Violations& violations) {
  if (recurrence.request.size() <= limits::kMaxRecurrenceBytes) return;
  const absl::string_view instead = field == "event" ? ": for many users, publish it to a topic" : "";
  violations.Add(field, absl::StrCat("must be at most ", limits::kMaxRecurrenceBytes, " bytes as protobuf", instead));
}

// Checks what is to be sent and fills it in.
void CheckWhat(const v1::CreateRecurrenceRequest& request, const SendOrigin& origin, const Catalogue& catalogue,
               Recurrence& recurrence, Violations& violations) {
  v1::CreateRecurrenceRequest kept;
  switch (request.what_case()) {
    case v1::CreateRecurrenceRequest::kSend:
      *kept.mutable_send() = request.send();
      CheckSend(*kept.mutable_send(), origin, catalogue, violations);
      recurrence.type = kept.send().type();
      recurrence.recipient = kept.send().user_id();
      break;
    case v1::CreateRecurrenceRequest::kEvent:
      *kept.mutable_event() = request.event();
      CheckEvent(*kept.mutable_event(), origin, catalogue, violations);
      recurrence.type = kept.event().type();
      break;
    case v1::CreateRecurrenceRequest::WHAT_NOT_SET:
      violations.Add("send", "is required, or event");
  }
  kept.DiscardUnknownFields();
  kept.SerializeToString(&recurrence.request);
  CheckSize(recurrence, kept.has_event() ? "event" : "send", violations);
}

// No writer numbers it here: where a version is missing, the worker gives one.
NewNotification WithEnvelope(NewNotification prepared) {
  if (prepared.takes_version) prepared.envelope = EncodeEnvelope(prepared.notification);
  return prepared;
}

void ToProto(const Recurrence& recurrence, v1::Recurrence* out) {
  out->set_recurrence_id(recurrence.id.ToString());
  out->set_cron(recurrence.cron);
  out->set_time_zone(recurrence.time_zone);
  out->set_type(recurrence.type);
  out->set_user_id(recurrence.recipient);
  if (recurrence.next_time.has_value()) *out->mutable_next_time() = ToTimestamp(*recurrence.next_time);
  *out->mutable_create_time() = ToTimestamp(recurrence.create_time);
  out->set_last_error(recurrence.last_error);
}

}  // namespace

absl::Status RecurrenceRequests::Create(AppId app, absl::Time now, const v1::CreateRecurrenceRequest& request,
                                        v1::CreateRecurrenceResponse* response) {
  Recurrence recurrence;
  recurrence.id = NewUuid7(now);
  recurrence.app = app;
  const absl::Duration clock_offset = catalogue_.PolicyOf(app)->clock_offset;
  recurrence.create_time = now + clock_offset;
  Violations violations;
  CheckTimes(request.recurrence(), recurrence, violations);
  const SendOrigin origin{.app = app, .time = recurrence.create_time, .traceparent = "", .clock_offset = clock_offset};
  CheckWhat(request, origin, catalogue_, recurrence, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  RETURN_IF_ERROR(store_->Create(recurrence));
  ToProto(recurrence, response->mutable_recurrence());
  return absl::OkStatus();
}

absl::Status RecurrenceRequests::List(AppId app, const v1::ListRecurrencesRequest& request,
                                      v1::ListRecurrencesResponse* response) {
  RecurrenceStore::ListQuery query{.app = app, .after = {}};
  ASSIGN_OR_RETURN(query.limit, EffectivePageSize(request.page_size(), kDefaultPage, kMaxPage));
  const std::string fingerprint = absl::StrCat("recurrences/", app.value());
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(request.page_token(), fingerprint));
  query.after = Uuid::FromBytes(position);
  ASSIGN_OR_RETURN(const std::vector<Recurrence> recurrences, store_->List(query));
  for (const Recurrence& recurrence : recurrences) ToProto(recurrence, response->add_recurrences());
  if (recurrences.size() == static_cast<size_t>(query.limit)) {
    response->set_next_page_token(EncodePageToken(recurrences.back().id.bytes(), fingerprint));
  }
  return absl::OkStatus();
}

absl::Status RecurrenceRequests::Delete(AppId app, const v1::DeleteRecurrenceRequest& request,
                                        v1::DeleteRecurrenceResponse* response) {
  const std::optional<Uuid> id = Uuid::Parse(request.recurrence_id());
  if (!id.has_value()) return error::InvalidField("recurrence_id", "must be a UUID");
  ASSIGN_OR_RETURN(const bool deleted, store_->Delete(app, *id));
  response->set_deleted(deleted);
  return absl::OkStatus();
}

absl::StatusOr<Occurrence> PrepareOccurrence(const DueRecurrence& due, const Catalogue& catalogue) {
  if (!catalogue.loaded()) return error::BackendUnavailable("postgresql", "the catalogue has not been read yet");
  const Recurrence& recurrence = due.recurrence;
  v1::CreateRecurrenceRequest request;
  if (!request.ParseFromString(recurrence.request)) return error::Internal("a recurrence's request can't be read");
  const std::string key = absl::StrCat("cron:", recurrence.id.ToString(), ":",
                                       absl::ToUnixSeconds(recurrence.next_time.value_or(due.app_time)));
  const SendOrigin origin{
      .app = recurrence.app, .time = due.app_time, .traceparent = "", .clock_offset = due.clock_offset};
  Violations violations;
  Occurrence occurrence;
  if (request.has_send()) {
    request.mutable_send()->set_idempotency_key(key);
    occurrence = WithEnvelope(PrepareSend(request.send(), origin, catalogue, violations));
  } else {
    request.mutable_event()->set_idempotency_key(key);
    occurrence = PrepareEvent(request.event(), origin, catalogue, violations);
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return occurrence;
}

}  // namespace carillon
