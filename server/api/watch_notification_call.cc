#include "server/api/watch_notification_call.h"

#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "server/api/status.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "send";
constexpr absl::string_view kMethod = "WatchNotification";

}  // namespace

grpc::ServerWriteReactor<v1::WatchNotificationResponse>* WatchNotificationCall::Start(
    ServerCalls& calls, NotificationWatches& watches, grpc::CallbackServerContext* context,
    std::string notification_id) {
  auto call = std::make_shared<WatchNotificationCall>(calls, watches);
  WatchNotificationCall* const reactor = call.get();
  reactor->self_ = call;
  calls.authenticator.Authenticate(*context, kScope,
                                   [call = std::move(call), notification_id = std::move(notification_id)](
                                       const absl::StatusOr<Caller>& caller) { call->Open(caller, notification_id); });
  return reactor;
}

void WatchNotificationCall::Open(const absl::StatusOr<Caller>& caller, const std::string& notification_id) {
  const absl::Status opened = caller.ok() ? OpenWatch(*caller, notification_id) : caller.status();
  {
    absl::MutexLock lock(&mutex_);
    state_ = opened.ok() ? State::kIdle : State::kFinished;
  }
  if (!opened.ok()) return FinishWith(opened);
  Pump();
}

absl::Status WatchNotificationCall::OpenWatch(const Caller& caller, const std::string& notification_id) {
  const std::optional<Uuid> id = Uuid::Parse(notification_id);
  if (!id.has_value()) return error::InvalidField("notification_id", "must be a UUID");
  ASSIGN_OR_RETURN(watch_,
                   watches_.Open(caller.app, *id, shared_from_this(), calls_.authenticator.PermitFor(caller, kScope)));
  return absl::OkStatus();
}

// gRPC may call back on this thread, so its operations are started without the lock.
void WatchNotificationCall::Pump() {
  std::optional<WatchStep> step = NextStep();
  if (!step.has_value()) return;
  if (!step->response.has_value()) return FinishWith(step->status);
  message_ = *std::move(step->response);
  StartWrite(&message_);
}

std::optional<WatchStep> WatchNotificationCall::NextStep() {
  absl::MutexLock lock(&mutex_);
  if (state_ != State::kIdle) return std::nullopt;
  std::optional<WatchStep> step;
  if (cancelled_) {
    step = WatchStep{.response = {}, .status = absl::CancelledError("the client is gone")};
  } else {
    step = watches_.Take(watch_);
  }
  if (step.has_value()) state_ = step->response.has_value() ? State::kWriting : State::kFinished;
  return step;
}

void WatchNotificationCall::FinishWith(const absl::Status& status) {
  const grpc::Status result = ToGrpcStatus(status, request_id_.ToString());
  calls_.metrics.Count(kMethod, result.error_code());
  log::Debug(
      "rpc.finished",
      {{"request_id", request_id_.ToString()}, {"method", kMethod}, {"code", static_cast<int>(result.error_code())}});
  Finish(result);
}

void WatchNotificationCall::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kIdle;
    cancelled_ = cancelled_ || !ok;
  }
  Pump();
}

void WatchNotificationCall::OnCancel() {
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
  }
  Pump();
}

void WatchNotificationCall::OnDone() {
  if (watch_ != nullptr) watches_.Close(watch_);
  self_.reset();
}

}  // namespace carillon
