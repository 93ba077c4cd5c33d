#include "server/api/admin_service.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/secrets.h"
#include "server/api/app_requests.h"
#include "server/api/page_token.h"
#include "server/api/stats_request.h"
#include "server/api/timestamps.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "admin";
// How often, and when, a sandbox is looked at before its time moves.
constexpr int kDecisionLooks = 40;
constexpr absl::Duration kDecisionLookInterval = absl::Milliseconds(50);

constexpr absl::string_view kScopes[] = {"send", "feed", "catalog", "admin"};

std::vector<std::string> CheckScopes(const v1::CreateAppRequest& request, Violations& violations) {
  if (request.scopes().empty()) return {"send", "feed", "catalog"};
  std::vector<std::string> scopes(request.scopes().begin(), request.scopes().end());
  for (size_t i = 0; i < scopes.size(); ++i) {
    if (std::find(std::begin(kScopes), std::end(kScopes), scopes[i]) == std::end(kScopes)) {
      violations.Add(absl::StrCat("scopes[", i, "]"), "must be send, feed, catalog or admin");
    }
  }
  return scopes;
}

void ToProto(const DeadLetter& letter, v1::DeadLetter* out) {
  out->set_dead_letter_id(absl::StrCat(letter.id));
  out->set_queue(letter.queue);
  out->set_lane(letter.lane);
  if (letter.notification_id.has_value()) out->set_notification_id(letter.notification_id->ToString());
  out->set_type(letter.type);
  out->set_reason(letter.reason);
  out->set_error(letter.error);
  out->set_retry_count(letter.retry_count);
  *out->mutable_dead_time() = ToTimestamp(letter.dead_time);
}

}  // namespace

grpc::ServerUnaryReactor* AdminServiceImpl::CreateApp(grpc::CallbackServerContext* context,
                                                      const v1::CreateAppRequest* request,
                                                      v1::CreateAppResponse* response) {
  return RunUnary(calls_, context, "CreateApp", kScope,
                  [=, this](const Caller&) { return Create(*request, response); });
}

absl::Status AdminServiceImpl::Create(const v1::CreateAppRequest& request, v1::CreateAppResponse* response) {
  Violations violations;
  violations.CheckText("name", request.name(), /*required=*/true, limits::kMaxAppNameBytes);
  const std::vector<std::string> scopes = CheckScopes(request, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  const std::string secret = NewAppSecret();
  const App wanted{.id = {}, .name = request.name(), .key = NewAppKey(), .scopes = scopes, .create_time = {}};
  ASSIGN_OR_RETURN(const App created, deps_.apps->Create(wanted, HashSecret(secret)));
  ToProto(created, calls_.clock.Now(), response->mutable_app());
  response->set_app_secret(secret);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminServiceImpl::RotateAppSecret(grpc::CallbackServerContext* context,
                                                            const v1::RotateAppSecretRequest* request,
                                                            v1::RotateAppSecretResponse* response) {
  return RunUnary(calls_, context, "RotateAppSecret", kScope, [=, this](const Caller&) -> absl::Status {
    Violations violations;
    violations.CheckId("app_key", request->app_key(), /*required=*/true);
    RETURN_IF_ERROR(violations.ToStatus());
    const std::string secret = NewAppSecret();
    RETURN_IF_ERROR(deps_.apps->AddSecret(request->app_key(), HashSecret(secret)));
    response->set_app_secret(secret);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminServiceImpl::UpdateApp(grpc::CallbackServerContext* context,
                                                      const v1::UpdateAppRequest* request,
                                                      v1::UpdateAppResponse* response) {
  return RunUnary(calls_, context, "UpdateApp", kScope,
                  [=, this](const Caller&) { return Update(*request, response); });
}

absl::Status AdminServiceImpl::Update(const v1::UpdateAppRequest& request, v1::UpdateAppResponse* response) {
  Violations violations;
  violations.CheckId("app_key", request.app_key(), /*required=*/true);
  const AppChanges changes = CheckAppChanges(request, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const App updated, deps_.apps->Update(request.app_key(), changes));
  deps_.catalogue.Refresh().IgnoreError();
  ToProto(updated, calls_.clock.Now(), response->mutable_app());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListTrippedSenders(grpc::CallbackServerContext* context,
                                                               const v1::ListTrippedSendersRequest* request,
                                                               v1::ListTrippedSendersResponse* response) {
  return RunUnary(calls_, context, "ListTrippedSenders", kScope,
                  [=, this](const Caller&) { return ListTripped(*request, response); });
}

absl::Status AdminServiceImpl::ListTripped(const v1::ListTrippedSendersRequest& request,
                                           v1::ListTrippedSendersResponse* response) {
  Violations violations;
  violations.CheckId("app_key", request.app_key(), /*required=*/false);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const std::vector<TrippedSender> senders,
                   deps_.trips->List(request.app_key(), limits::kMaxTrippedSenders));
  for (const TrippedSender& sender : senders) ToProto(sender, response->add_senders());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminServiceImpl::LiftTrippedSender(grpc::CallbackServerContext* context,
                                                              const v1::LiftTrippedSenderRequest* request,
                                                              v1::LiftTrippedSenderResponse* response) {
  return RunUnary(calls_, context, "LiftTrippedSender", kScope,
                  [=, this](const Caller&) { return Lift(*request, response); });
}

absl::Status AdminServiceImpl::Lift(const v1::LiftTrippedSenderRequest& request,
                                    v1::LiftTrippedSenderResponse* response) {
  Violations violations;
  violations.CheckId("app_key", request.app_key(), /*required=*/true);
  violations.CheckId("sender_id", request.sender_id(), /*required=*/false);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const bool lifted, deps_.trips->Lift(request.app_key(), request.sender_id()));
  deps_.catalogue.Refresh().IgnoreError();
  response->set_lifted(lifted);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminServiceImpl::AdvanceClock(grpc::CallbackServerContext* context,
                                                         const v1::AdvanceClockRequest* request,
                                                         v1::AdvanceClockResponse* response) {
  return RunUnary(calls_, context, "AdvanceClock", kScope,
                  [=, this](const Caller& caller) { return Advance(caller.app, *request, response); });
}

// What was sent a moment ago is to be decided by the time of then: it would wait by a row
// that does not move. Not for long, should a worker be away.
absl::Status AdminServiceImpl::WaitUntilDecided(AppId app) {
  for (int look = 0; look < kDecisionLooks; ++look) {
    ASSIGN_OR_RETURN(const bool undecided, deps_.apps->HasUndecided(app));
    if (!undecided || deps_.stop.WaitFor(kDecisionLookInterval)) break;
  }
  return absl::OkStatus();
}

absl::Status AdminServiceImpl::Advance(AppId app, const v1::AdvanceClockRequest& request,
                                       v1::AdvanceClockResponse* response) {
  const absl::Duration by = absl::Seconds(request.by().seconds()) + absl::Nanoseconds(request.by().nanos());
  if (by < limits::kMinClockStep || by > limits::kMaxClockStep) {
    return error::InvalidField("by", "must be 1 s to 366 days");
  }
  RETURN_IF_ERROR(WaitUntilDecided(app));
  ASSIGN_OR_RETURN(const MovedClock moved, deps_.apps->AdvanceClock(app, by));
  deps_.catalogue.Refresh().IgnoreError();
  for (const Lane lane : kNotificationLanes) deps_.waker.Wake(lane);
  *response->mutable_app_time() = ToTimestamp(moved.app_time);
  response->set_due(moved.due);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListQueues(grpc::CallbackServerContext* context,
                                                       const v1::ListQueuesRequest* request,
                                                       v1::ListQueuesResponse* response) {
  auto call = std::make_shared<UnaryCall>(calls_, context, "ListQueues");
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  calls_.authenticator.Authenticate(*context, kScope, [=, this](const absl::StatusOr<Caller>& caller) {
    if (!caller.ok()) return call->Finish(caller.status());
    deps_.queues->List(call, *request, response);
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListDeadLetters(grpc::CallbackServerContext* context,
                                                            const v1::ListDeadLettersRequest* request,
                                                            v1::ListDeadLettersResponse* response) {
  return RunUnary(calls_, context, "ListDeadLetters", kScope,
                  [=, this](const Caller& caller) { return ReadDeadLetters(caller.app, *request, response); });
}

absl::Status AdminServiceImpl::ReadDeadLetters(AppId app, const v1::ListDeadLettersRequest& request,
                                               v1::ListDeadLettersResponse* response) {
  Violations violations;
  violations.CheckId("queue", request.queue(), /*required=*/false);
  RETURN_IF_ERROR(violations.ToStatus());
  DeadLetterStore::ListQuery query{.app = app, .queue = request.queue(), .older_than = {}};
  ASSIGN_OR_RETURN(query.limit, EffectivePageSize(request.page_size(), limits::kDefaultPageSize, limits::kMaxPageSize));
  const std::string fingerprint = absl::StrCat("dead_letters/", app.value(), "/", request.queue());
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(request.page_token(), fingerprint));
  int64_t older_than = 0;
  if (absl::SimpleAtoi(position, &older_than)) query.older_than = older_than;
  ASSIGN_OR_RETURN(const std::vector<DeadLetter> letters, deps_.dead_letters->List(query));
  for (const DeadLetter& letter : letters) ToProto(letter, response->add_dead_letters());
  if (letters.size() == static_cast<size_t>(query.limit)) {
    response->set_next_page_token(EncodePageToken(absl::StrCat(letters.back().id), fingerprint));
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminServiceImpl::SetProviders(grpc::CallbackServerContext* context,
                                                         const v1::SetProvidersRequest* request,
                                                         v1::SetProvidersResponse* response) {
  return RunUnary(calls_, context, "SetProviders", kScope,
                  [=, this](const Caller& caller) { return deps_.providers->Set(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListProviders(grpc::CallbackServerContext* context,
                                                          const v1::ListProvidersRequest* request,
                                                          v1::ListProvidersResponse* response) {
  return RunUnary(calls_, context, "ListProviders", kScope,
                  [=, this](const Caller& caller) { return deps_.providers->List(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* AdminServiceImpl::GetStats(grpc::CallbackServerContext* context,
                                                     const v1::GetStatsRequest* request,
                                                     v1::GetStatsResponse* response) {
  return RunUnary(calls_, context, "GetStats", kScope, [=, this](const Caller& caller) {
    return carillon::GetStats(*deps_.stats, caller.app, *request, response);
  });
}

}  // namespace carillon
