#include "server/api/unary_call.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/trace_context.h"
#include "carillon/runtime/logging.h"
#include "server/api/status.h"

namespace carillon {
namespace {

absl::Time DeadlineOf(const grpc::CallbackServerContext& context, absl::Time now, absl::Duration longest) {
  const absl::Time asked = absl::FromChrono(context.deadline());
  const absl::Time latest = now + longest;
  return asked < latest ? asked : latest;
}

// Random enough to find a call in the logs.
std::string NewRequestId(absl::Time now) { return NewUuid7(now).ToString(); }

}  // namespace

std::string TraceOf(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find("traceparent");
  if (found == context.client_metadata().end()) return "";
  return NextTraceparent({found->second.data(), found->second.size()});
}

UnaryCall::UnaryCall(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
                     absl::Duration longest)
    : calls_(calls),
      context_(context),
      method_(method),
      request_id_(NewRequestId(calls.clock.Now())),
      traceparent_(TraceOf(*context)),
      started_(calls.clock.Now()),
      deadline_(DeadlineOf(*context, started_, longest)),
      reactor_(context->DefaultReactor()) {}

UnaryCall::~UnaryCall() {
  if (!finished_) Finish(error::Internal(absl::StrCat(method_, " was dropped without an answer")));
}

void UnaryCall::Finish(const absl::Status& status) {
  finished_ = true;
  const grpc::Status result = ToGrpcStatus(status, request_id_);
  const absl::Duration elapsed = calls_.clock.Now() - started_;
  calls_.metrics.Observe(method_, result.error_code(), elapsed);
  log::Debug("rpc.finished", {{"request_id", request_id_},
                              {"method", method_},
                              {"code", static_cast<int>(result.error_code())},
                              {"latency_ms", absl::ToDoubleMilliseconds(elapsed)},
                              {"trace_id", TraceIdOf(traceparent_)}});
  reactor_->Finish(result);
}

grpc::ServerUnaryReactor* RunUnary(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
                                   Access access, absl::AnyInvocable<absl::Status(const Caller&)> work) {
  return RunUnary(calls, context, method, access,
                  [work = std::move(work)](const UnaryCall&, const Caller& caller) mutable { return work(caller); });
}

grpc::ServerUnaryReactor* RunUnary(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
                                   Access access,
                                   absl::AnyInvocable<absl::Status(const UnaryCall&, const Caller&)> work,
                                   absl::Duration longest) {
  auto call = std::make_shared<UnaryCall>(calls, context, method, longest);
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  auto shared_work = std::make_shared<decltype(work)>(std::move(work));
  calls.authenticator.Authenticate(*context, access, [&calls, call, shared_work](absl::StatusOr<Caller> caller) {
    if (!caller.ok()) return call->Finish(caller.status());
    const bool taken = calls.executor.Submit([&calls, call, shared_work, caller = *std::move(caller)] {
      if (call->is_cancelled() || call->deadline() < calls.clock.Now()) {
        return call->Finish(error::DeadlineExceeded());
      }
      call->Finish((*shared_work)(*call, caller));
    });
    if (!taken) call->Finish(error::Overloaded("the queue of this server", absl::Milliseconds(200)));
  });
  return reactor;
}

}  // namespace carillon
