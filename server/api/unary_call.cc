#include "server/api/unary_call.h"

#include "absl/strings/escaping.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
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

UnaryCall::UnaryCall(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
                     absl::Duration longest)
    : calls_(calls),
      context_(context),
      method_(method),
      request_id_(NewRequestId(calls.clock.Now())),
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
                              {"latency_ms", absl::ToDoubleMilliseconds(elapsed)}});
  reactor_->Finish(result);
}

std::string UnaryCall::traceparent() const {
  const auto found = context_->client_metadata().find("traceparent");
  // version-traceid-parentid-flags: 55 characters (W3C Trace Context, section 3.2).
  if (found == context_->client_metadata().end() || found->second.size() != 55) return "";
  const absl::string_view text(found->second.data(), found->second.size());
  for (const char c : text) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c)) && c != '-') return "";
  }
  return std::string(text);
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
