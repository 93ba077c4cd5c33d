#include "server/api/replay_call.h"

#include <google/protobuf/util/time_util.h>

#include <utility>

#include "carillon/runtime/logging.h"
#include "server/api/dead_letter_view.h"
#include "server/api/status.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "admin";
constexpr const char* kMethod = "ReplayDeadLetters";

}  // namespace

v1::ReplayDeadLettersResponse ToProto(const ReplayProgress& progress) {
  v1::ReplayDeadLettersResponse response;
  ToProto(progress.replay, response.mutable_replay());
  response.set_rate(progress.rate);
  const bool is_open = progress.replay.state == ReplayState::kRunning;
  if (is_open && progress.remaining != absl::InfiniteDuration()) {
    *response.mutable_remaining_time() =
        google::protobuf::util::TimeUtil::MillisecondsToDuration(absl::ToInt64Milliseconds(progress.remaining));
  }
  return response;
}

grpc::ServerWriteReactor<v1::ReplayDeadLettersResponse>* ReplayCall::Start(
    ServerCalls& calls, DeadLetterRequests& requests, ReplayRunner& runner, grpc::CallbackServerContext* context,
    const v1::ReplayDeadLettersRequest& request) {
  auto call = std::make_shared<ReplayCall>(calls);
  ReplayCall* const reactor = call.get();
  reactor->self_ = call;
  calls.authenticator.Authenticate(
      *context, kScope,
      [&calls, &requests, &runner, call = std::move(call), request](const absl::StatusOr<Caller>& caller) {
        if (!caller.ok()) return call->OnEnd(caller.status());
        call->permit_ = calls.authenticator.PermitFor(*caller, kScope);
        const auto plan = [&requests, app = caller->app, request] { return requests.PlanReplay(app, request); };
        const absl::Status started = runner.Start(plan, call);
        if (!started.ok()) call->OnEnd(started);
      });
  return reactor;
}

ReplayCall::ReplayCall(ServerCalls& calls) : calls_(calls), request_id_(NewUuid7(calls.clock.Now())) {}

void ReplayCall::OnProgress(const ReplayProgress& progress) {
  {
    absl::MutexLock lock(&mutex_);
    newest_ = ToProto(progress);
  }
  Pump();
}

void ReplayCall::OnEnd(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    end_ = status;
  }
  Pump();
}

bool ReplayCall::is_cancelled() const {
  const absl::Status permitted = permit_ == nullptr ? absl::OkStatus() : permit_();
  absl::MutexLock lock(&mutex_);
  if (refused_.ok()) refused_ = permitted;
  return cancelled_ || !refused_.ok();
}

// gRPC may call back on this thread, so its operations are started without the lock.
void ReplayCall::Pump() {
  std::optional<absl::Status> end;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ != State::kIdle) return;
    if (newest_.has_value() && !cancelled_) {
      message_ = *std::exchange(newest_, std::nullopt);
      state_ = State::kWriting;
    } else if (end_.has_value()) {
      state_ = State::kFinished;
      end = cancelled_ ? absl::CancelledError("the client is gone") : refused_.ok() ? *end_ : refused_;
    } else {
      return;
    }
  }
  if (!end.has_value()) return StartWrite(&message_);
  const grpc::Status result = ToGrpcStatus(*end, request_id_.ToString());
  calls_.metrics.Count(kMethod, result.error_code());
  log::Debug(
      "rpc.finished",
      {{"request_id", request_id_.ToString()}, {"method", kMethod}, {"code", static_cast<int>(result.error_code())}});
  Finish(result);
}

void ReplayCall::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kIdle;
    cancelled_ = cancelled_ || !ok;
  }
  Pump();
}

// The run sees it, and ends.
void ReplayCall::OnCancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
}

void ReplayCall::OnDone() { self_.reset(); }

}  // namespace carillon
