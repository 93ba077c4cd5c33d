#include "server/api/admin_service.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/secrets.h"
#include "server/api/app_requests.h"
#include "server/api/replay_call.h"
#include "server/api/stats_request.h"
#include "server/api/timestamps.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "admin";
// How often, and when, a sandbox is looked at before its time moves.
constexpr int kDecisionLooks = 40;
// What the last step and the answer take.
constexpr absl::Duration kPurgeMargin = absl::Seconds(1);
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
  return RunUnary(deps_.letter_calls, context, "ListDeadLetters", kScope,
                  [=, this](const Caller& caller) { return deps_.dead_letters->List(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* AdminServiceImpl::SummarizeDeadLetters(grpc::CallbackServerContext* context,
                                                                 const v1::SummarizeDeadLettersRequest* request,
                                                                 v1::SummarizeDeadLettersResponse* response) {
  return RunUnary(deps_.letter_calls, context, "SummarizeDeadLetters", kScope, [=, this](const Caller& caller) {
    return deps_.dead_letters->Summarize(caller.app, *request, response);
  });
}

grpc::ServerUnaryReactor* AdminServiceImpl::GetDeadLetter(grpc::CallbackServerContext* context,
                                                          const v1::GetDeadLetterRequest* request,
                                                          v1::GetDeadLetterResponse* response) {
  return RunUnary(calls_, context, "GetDeadLetter", kScope,
                  [=, this](const Caller& caller) { return deps_.dead_letters->Get(caller.app, *request, response); });
}

grpc::ServerWriteReactor<v1::ReplayDeadLettersResponse>* AdminServiceImpl::ReplayDeadLetters(
    grpc::CallbackServerContext* context, const v1::ReplayDeadLettersRequest* request) {
  return ReplayCall::Start(calls_, *deps_.dead_letters, deps_.replays, context, *request);
}

grpc::ServerUnaryReactor* AdminServiceImpl::PurgeDeadLetters(grpc::CallbackServerContext* context,
                                                             const v1::PurgeDeadLettersRequest* request,
                                                             v1::PurgeDeadLettersResponse* response) {
  return RunUnary(
      deps_.letter_calls, context, "PurgeDeadLetters", kScope,
      [=, this](const UnaryCall& call, const Caller& caller) {
        return deps_.dead_letters->Purge(caller.app, *request, call.deadline() - kPurgeMargin, response);
      },
      limits::kPurgeDeadline);
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListReplays(grpc::CallbackServerContext* context,
                                                        const v1::ListReplaysRequest* request,
                                                        v1::ListReplaysResponse* response) {
  return RunUnary(calls_, context, "ListReplays", kScope,
                  [=, this](const Caller&) { return deps_.dead_letters->ListReplays(*request, response); });
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
