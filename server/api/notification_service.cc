#include "server/api/notification_service.h"

#include <algorithm>
#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/event_request.h"
#include "server/api/page_token.h"
#include "server/api/record_reactions.h"
#include "server/api/record_receipts.h"
#include "server/api/send_request.h"
#include "server/api/watch_notification_call.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "send";

absl::Status CatalogueNotLoaded() {
  return error::BackendUnavailable("postgresql", "the catalogue has not been read yet");
}

SendOrigin OriginOf(const UnaryCall& call, AppId app, const Catalogue& catalogue) {
  const absl::Duration clock_offset = catalogue.PolicyOf(app)->clock_offset;
  return {.app = app,
          .time = call.started() + clock_offset,
          .traceparent = call.traceparent(),
          .clock_offset = clock_offset};
}

// Does something with the event that a request names and shows what it is then.
template <typename Request, typename Response, typename Work>
absl::Status AnswerEvent(const Request& request, Response* response, Work work) {
  const std::optional<Uuid> id = Uuid::Parse(request.event_id());
  if (!id.has_value()) return error::InvalidField("event_id", "must be a UUID");
  ASSIGN_OR_RETURN(const EventRecord record, work(*id));
  ToProto(record, response->mutable_event());
  return absl::OkStatus();
}

// The lane whose queue a batch waits in: the lightest of its items', so that a
// batch never stands before something heavier than itself.
Lane LaneOfBatch(const std::vector<NewNotification>& items) {
  return std::max_element(items.begin(), items.end(),
                          [](const NewNotification& a, const NewNotification& b) {
                            return a.notification.lane < b.notification.lane;
                          })
      ->notification.lane;
}

void CheckKeysDiffer(const v1::BatchSendNotificationsRequest& request, Violations& violations) {
  std::set<absl::string_view> keys;
  for (int i = 0; i < request.requests_size(); ++i) {
    const std::string& key = request.requests(i).idempotency_key();
    if (!key.empty() && !keys.insert(key).second) {
      violations.Add(absl::StrCat("requests[", i, "].idempotency_key"), "must differ from those of the other requests");
    }
  }
}

}  // namespace

grpc::ServerUnaryReactor* NotificationServiceImpl::SendNotification(grpc::CallbackServerContext* context,
                                                                    const v1::SendNotificationRequest* request,
                                                                    v1::SendNotificationResponse* response) {
  auto call = std::make_shared<UnaryCall>(calls_, context, "SendNotification");
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  calls_.authenticator.Authenticate(*context, kScope, [=, this](absl::StatusOr<Caller> caller) {
    if (!caller.ok()) return call->Finish(caller.status());
    Send(call, caller->app, request, response);
  });
  return reactor;
}

void NotificationServiceImpl::Send(const CallPtr& call, AppId app, const v1::SendNotificationRequest* request,
                                   v1::SendNotificationResponse* response) {
  if (!deps_.catalogue.loaded()) return call->Finish(CatalogueNotLoaded());
  Violations violations;
  NewNotification prepared = PrepareSend(*request, OriginOf(*call, app, deps_.catalogue), deps_.catalogue, violations);
  if (!violations.empty()) return call->Finish(violations.ToStatus());
  const Lane lane = prepared.notification.lane;
  if (const absl::Status status = deps_.outbox.Admit(lane); !status.ok()) return call->Finish(status);
  IngestRequest ingest{.items = {}, .all_or_nothing = false, .deadline = call->deadline(), .done = nullptr};
  ingest.items.push_back(std::move(prepared));
  ingest.done = [=](const IngestRequest::Outcomes& outcomes, absl::Span<const NewNotification> items) {
    if (!outcomes.ok()) return call->Finish(outcomes.status());
    const AcceptOutcome& outcome = outcomes->front();
    if (outcome.status.ok()) FillSendResponse(*request, items.front(), outcome, response);
    call->Finish(outcome.status);
  };
  Submit(call, app, lane, std::move(ingest));
}

void NotificationServiceImpl::Submit(const CallPtr& call, AppId app, Lane lane, IngestRequest ingest) {
  const std::shared_ptr<const AppPolicy> policy = deps_.catalogue.PolicyOf(app);
  IngestWriter& writer = *deps_.writers.at(lane);
  if (!DoorLimits::Concern(*policy)) return writer.Submit(std::move(ingest));
  DoorLimits::Call entry{.senders = SendersOf(ingest.items),
                         .urgent = lane == Lane::kPayment || lane == Lane::kOtp,
                         .deadline = ingest.deadline,
                         .done = nullptr};
  Admit(call, *policy, std::move(entry),
        [&writer, ingest = std::move(ingest)]() mutable { writer.Submit(std::move(ingest)); });
}

void NotificationServiceImpl::Submit(const CallPtr& call, AppId app, ReactionRequest reactions) {
  const std::shared_ptr<const AppPolicy> policy = deps_.catalogue.PolicyOf(app);
  ReactionWriter& writer = deps_.reactions;
  if (!DoorLimits::Concern(*policy)) return writer.Submit(std::move(reactions));
  DoorLimits::Call entry{
      .senders = SendersOf(reactions.reactions), .urgent = false, .deadline = reactions.deadline, .done = nullptr};
  Admit(call, *policy, std::move(entry),
        [&writer, reactions = std::move(reactions)]() mutable { writer.Submit(std::move(reactions)); });
}

void NotificationServiceImpl::Admit(const CallPtr& call, const AppPolicy& policy, DoorLimits::Call entry,
                                    absl::AnyInvocable<void()> go_on) {
  entry.done = [call, go_on = std::move(go_on)](const absl::Status& admitted) mutable {
    if (!admitted.ok()) return call->Finish(admitted);
    go_on();
  };
  deps_.limits.Admit(policy, std::move(entry));
}

grpc::ServerUnaryReactor* NotificationServiceImpl::BatchSendNotifications(
    grpc::CallbackServerContext* context, const v1::BatchSendNotificationsRequest* request,
    v1::BatchSendNotificationsResponse* response) {
  auto call = std::make_shared<UnaryCall>(calls_, context, "BatchSendNotifications");
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  calls_.authenticator.Authenticate(*context, kScope, [=, this](absl::StatusOr<Caller> caller) {
    if (!caller.ok()) return call->Finish(caller.status());
    SendBatch(call, caller->app, request, response);
  });
  return reactor;
}

void NotificationServiceImpl::SendBatch(const CallPtr& call, AppId app,
                                        const v1::BatchSendNotificationsRequest* request,
                                        v1::BatchSendNotificationsResponse* response) {
  if (!deps_.catalogue.loaded()) return call->Finish(CatalogueNotLoaded());
  if (request->requests_size() < 1 || request->requests_size() > limits::kMaxBatchSize) {
    return call->Finish(error::InvalidField("requests", absl::StrCat("must be 1 to ", limits::kMaxBatchSize)));
  }
  std::vector<NewNotification> prepared;
  prepared.reserve(request->requests_size());
  const SendOrigin origin = OriginOf(*call, app, deps_.catalogue);
  Violations violations;
  for (int i = 0; i < request->requests_size(); ++i) {
    Violations own(absl::StrCat("requests[", i, "]."));
    prepared.push_back(PrepareSend(request->requests(i), origin, deps_.catalogue, own));
    violations.Append(own);
  }
  CheckKeysDiffer(*request, violations);
  if (!violations.empty()) return call->Finish(violations.ToStatus());
  for (const NewNotification& item : prepared) {
    const absl::Status status = deps_.outbox.Admit(item.notification.lane);
    if (!status.ok()) return call->Finish(status);
  }
  const Lane lane = LaneOfBatch(prepared);
  IngestRequest ingest{
      .items = std::move(prepared), .all_or_nothing = true, .deadline = call->deadline(), .done = nullptr};
  ingest.done = [=](const IngestRequest::Outcomes& outcomes, absl::Span<const NewNotification> items) {
    if (!outcomes.ok()) return call->Finish(outcomes.status());
    for (size_t i = 0; i < items.size(); ++i) {
      FillSendResponse(request->requests(static_cast<int>(i)), items[i], (*outcomes)[i], response->add_responses());
    }
    call->Finish(absl::OkStatus());
  };
  Submit(call, app, lane, std::move(ingest));
}

grpc::ServerUnaryReactor* NotificationServiceImpl::GetNotification(grpc::CallbackServerContext* context,
                                                                   const v1::GetNotificationRequest* request,
                                                                   v1::GetNotificationResponse* response) {
  return RunUnary(calls_, context, "GetNotification", kScope, [=, this](const Caller& caller) -> absl::Status {
    const std::optional<Uuid> id = Uuid::Parse(request->notification_id());
    if (!id.has_value()) return error::InvalidField("notification_id", "must be a UUID");
    return Show(caller.app, *id, response->mutable_notification());
  });
}

absl::Status NotificationServiceImpl::Show(AppId app, const NotificationId& id, v1::Notification* out) {
  ASSIGN_OR_RETURN(const ShownNotification shown, reader_.Read(app, id));
  reader_.Fill(shown, out);
  return absl::OkStatus();
}

grpc::ServerWriteReactor<v1::WatchNotificationResponse>* NotificationServiceImpl::WatchNotification(
    grpc::CallbackServerContext* context, const v1::WatchNotificationRequest* request) {
  return WatchNotificationCall::Start(calls_, deps_.watches, context, request->notification_id());
}

grpc::ServerUnaryReactor* NotificationServiceImpl::CancelNotification(grpc::CallbackServerContext* context,
                                                                      const v1::CancelNotificationRequest* request,
                                                                      v1::CancelNotificationResponse* response) {
  return RunUnary(calls_, context, "CancelNotification", kScope, [=, this](const Caller& caller) -> absl::Status {
    const std::optional<Uuid> id = Uuid::Parse(request->notification_id());
    if (!id.has_value()) return error::InvalidField("notification_id", "must be a UUID");
    RETURN_IF_ERROR(deps_.store->Cancel(caller.app, *id));
    return Show(caller.app, *id, response->mutable_notification());
  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::ListNotifications(grpc::CallbackServerContext* context,
                                                                     const v1::ListNotificationsRequest* request,
                                                                     v1::ListNotificationsResponse* response) {
  return RunUnary(calls_, context, "ListNotifications", kScope,
                  [=, this](const Caller& caller) { return List(caller.app, *request, response); });
}

absl::Status NotificationServiceImpl::List(AppId app, const v1::ListNotificationsRequest& request,
                                           v1::ListNotificationsResponse* response) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/false);
  if (!v1::State_IsValid(request.state()) || request.state() == v1::STATE_QUEUED) {
    violations.Add("state", "must be a state that is stored: QUEUED is derived, ask for ACCEPTED");
  }
  RETURN_IF_ERROR(violations.ToStatus());
  NotificationStore::ListQuery query{.app = app, .recipient = request.user_id(), .state = {}, .older_than = {}};
  if (request.state() != v1::STATE_UNSPECIFIED) query.state = static_cast<State>(request.state());
  ASSIGN_OR_RETURN(query.limit, EffectivePageSize(request.page_size(), limits::kDefaultPageSize, limits::kMaxPageSize));
  const std::string fingerprint =
      absl::StrCat("notifications/", app.value(), "/", request.state(), "/", request.user_id());
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(request.page_token(), fingerprint));
  query.older_than = Uuid::FromBytes(position);
  ASSIGN_OR_RETURN(const std::vector<NotificationRecord> records, deps_.store->List(query));
  for (const NotificationRecord& record : records) ToProto(record, response->add_notifications());
  if (records.size() == static_cast<size_t>(query.limit)) {
    response->set_next_page_token(EncodePageToken(records.back().notification.id.bytes(), fingerprint));
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* NotificationServiceImpl::ExplainNotification(grpc::CallbackServerContext* context,
                                                                       const v1::ExplainNotificationRequest* request,
                                                                       v1::ExplainNotificationResponse* response) {
  return RunUnary(calls_, context, "ExplainNotification", kScope,
                  [=, this](const Caller& caller) { return explainer_.Explain(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::DryRun(grpc::CallbackServerContext* context,
                                                          const v1::DryRunRequest* request,
                                                          v1::DryRunResponse* response) {
  return RunUnary(calls_, context, "DryRun", kScope, [=, this](const UnaryCall& call, const Caller& caller) {
    if (!deps_.catalogue.loaded()) return CatalogueNotLoaded();
    const auto goes_on = [&] {
      const bool late = call.is_cancelled() || call.deadline() < calls_.clock.Now();
      return late ? error::DeadlineExceeded() : absl::OkStatus();
    };
    return dry_runner_.Run(*request, OriginOf(call, caller.app, deps_.catalogue), goes_on, response);
  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::RecordReactions(grpc::CallbackServerContext* context,
                                                                   const v1::RecordReactionsRequest* request,
                                                                   v1::RecordReactionsResponse*) {
  auto call = std::make_shared<UnaryCall>(calls_, context, "RecordReactions");
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  calls_.authenticator.Authenticate(*context, kScope, [=, this](absl::StatusOr<Caller> caller) {
    if (!caller.ok()) return call->Finish(caller.status());
    Record(call, caller->app, *request);
  });
  return reactor;
}

void NotificationServiceImpl::Record(const CallPtr& call, AppId app, const v1::RecordReactionsRequest& request) {
  if (!deps_.catalogue.loaded()) return call->Finish(CatalogueNotLoaded());
  Violations violations;
  std::vector<Reaction> reactions =
      PrepareReactions(request, OriginOf(*call, app, deps_.catalogue), deps_.catalogue, violations);
  if (!violations.empty()) return call->Finish(violations.ToStatus());
  if (const absl::Status status = deps_.outbox.Admit(Lane::kSocial); !status.ok()) return call->Finish(status);
  ReactionRequest recorded{.reactions = std::move(reactions), .deadline = call->deadline(), .done = nullptr};
  recorded.done = [call](const absl::Status& status) { call->Finish(status); };
  Submit(call, app, std::move(recorded));
}

grpc::ServerUnaryReactor* NotificationServiceImpl::RecordReceipts(grpc::CallbackServerContext* context,
                                                                  const v1::RecordReceiptsRequest* request,
                                                                  v1::RecordReceiptsResponse* response) {
  return RunUnary(calls_, context, "RecordReceipts", kScope,
                  [=, this](const UnaryCall& call, const Caller& caller) -> absl::Status {
                    Violations violations;
                    const std::vector<DeliveryReceipt> receipts =
                        PrepareReceipts(*request, caller.app, call.started(), violations);
                    RETURN_IF_ERROR(violations.ToStatus());
                    ASSIGN_OR_RETURN(const std::vector<bool> matched, deps_.interactions->RecordReceipts(receipts));
                    response->set_matched(static_cast<int>(absl::c_count(matched, true)));
                    return absl::OkStatus();
                  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::PublishEvent(grpc::CallbackServerContext* context,
                                                                const v1::PublishEventRequest* request,
                                                                v1::PublishEventResponse* response) {
  return RunUnary(calls_, context, "PublishEvent", kScope, [=, this](const UnaryCall& call, const Caller& caller) {
    return Publish(call, caller.app, *request, response);
  });
}

absl::Status NotificationServiceImpl::Publish(const UnaryCall& call, AppId app, const v1::PublishEventRequest& request,
                                              v1::PublishEventResponse* response) {
  if (!deps_.catalogue.loaded()) return CatalogueNotLoaded();
  Violations violations;
  const NewEvent event = PrepareEvent(request, OriginOf(call, app, deps_.catalogue), deps_.catalogue, violations);
  if (!violations.empty()) return violations.ToStatus();
  RETURN_IF_ERROR(deps_.outbox.AdmitEvent(event.event.lane));
  if (const auto policy = deps_.catalogue.PolicyOf(app); DoorLimits::Concern(*policy)) {
    RETURN_IF_ERROR(deps_.limits.AdmitNow(*policy, {.senders = {{.id = request.actor_id()}}, .done = nullptr}));
  }
  ASSIGN_OR_RETURN(const EventOutcome outcome, deps_.events->Accept(event));
  if (!outcome.duplicate) deps_.waker.Wake(Lane::kFanout);
  FillPublishResponse(request, event, outcome, response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* NotificationServiceImpl::GetEvent(grpc::CallbackServerContext* context,
                                                            const v1::GetEventRequest* request,
                                                            v1::GetEventResponse* response) {
  return RunUnary(calls_, context, "GetEvent", kScope, [=, this](const Caller& caller) -> absl::Status {
    return AnswerEvent(*request, response, [&](const Uuid& id) { return deps_.events->Get(caller.app, id); });
  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::PauseEvent(grpc::CallbackServerContext* context,
                                                              const v1::PauseEventRequest* request,
                                                              v1::PauseEventResponse* response) {
  return RunUnary(calls_, context, "PauseEvent", kScope, [=, this](const Caller& caller) -> absl::Status {
    return AnswerEvent(*request, response, [&](const Uuid& id) { return deps_.events->Pause(caller.app, id); });
  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::ResumeEvent(grpc::CallbackServerContext* context,
                                                               const v1::ResumeEventRequest* request,
                                                               v1::ResumeEventResponse* response) {
  return RunUnary(calls_, context, "ResumeEvent", kScope, [=, this](const Caller& caller) -> absl::Status {
    const absl::Status status =
        AnswerEvent(*request, response, [&](const Uuid& id) { return deps_.events->Resume(caller.app, id); });
    deps_.waker.Wake(Lane::kFanout);
    return status;
  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::CancelEvent(grpc::CallbackServerContext* context,
                                                               const v1::CancelEventRequest* request,
                                                               v1::CancelEventResponse* response) {
  return RunUnary(calls_, context, "CancelEvent", kScope, [=, this](const Caller& caller) -> absl::Status {
    return AnswerEvent(*request, response, [&](const Uuid& id) { return deps_.events->Cancel(caller.app, id); });
  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::CreateRecurrence(grpc::CallbackServerContext* context,
                                                                    const v1::CreateRecurrenceRequest* request,
                                                                    v1::CreateRecurrenceResponse* response) {
  return RunUnary(calls_, context, "CreateRecurrence", kScope,
                  [=, this](const UnaryCall& call, const Caller& caller) -> absl::Status {
                    if (!deps_.catalogue.loaded()) return CatalogueNotLoaded();
                    return deps_.recurrences->Create(caller.app, call.started(), *request, response);
                  });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::ListRecurrences(grpc::CallbackServerContext* context,
                                                                   const v1::ListRecurrencesRequest* request,
                                                                   v1::ListRecurrencesResponse* response) {
  return RunUnary(calls_, context, "ListRecurrences", kScope,
                  [=, this](const Caller& caller) { return deps_.recurrences->List(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* NotificationServiceImpl::DeleteRecurrence(grpc::CallbackServerContext* context,
                                                                    const v1::DeleteRecurrenceRequest* request,
                                                                    v1::DeleteRecurrenceResponse* response) {
  return RunUnary(calls_, context, "DeleteRecurrence", kScope, [=, this](const Caller& caller) {
    return deps_.recurrences->Delete(caller.app, *request, response);
  });
}

}  // namespace carillon
