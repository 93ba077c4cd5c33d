// What every unary RPC has in common: a request id, authentication, the
// deadline, metrics, and exactly one Finish.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/clock.h"
#include "carillon/runtime/executor.h"
#include "server/api/authenticator.h"
#include "server/api/rpc_metrics.h"

namespace carillon {

// What the handlers share. Everything outlives the gRPC server.
struct ServerCalls {
  Authenticator& authenticator;
  Executor& executor;
  RpcMetrics& metrics;
  const Clock& clock;
};

// The caller's W3C trace, gone on with by this call; empty: there is none.
std::string TraceOf(const grpc::CallbackServerContext& context);

// One call under way. Finish it once, from any thread.
class UnaryCall {
 public:
  // `method` is a literal. No deadline of a caller is taken for longer than `longest`.
  UnaryCall(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
            absl::Duration longest = limits::kDefaultDeadline);
  // A call that nobody finished ends as a fault of ours, instead of hanging.
  ~UnaryCall();

  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

  void Finish(const absl::Status& status);

  grpc::ServerUnaryReactor* reactor() const { return reactor_; }
  absl::Time started() const { return started_; }
  // The caller's, or the default where it set none.
  absl::Time deadline() const { return deadline_; }
  bool is_cancelled() const { return context_->IsCancelled(); }
  const std::string& request_id() const { return request_id_; }
  const std::string& traceparent() const { return traceparent_; }

 private:
  ServerCalls& calls_;
  grpc::CallbackServerContext* const context_;
  const absl::string_view method_;
  const std::string request_id_;
  const std::string traceparent_;
  const absl::Time started_;
  const absl::Time deadline_;
  grpc::ServerUnaryReactor* const reactor_;
  bool finished_ = false;
};

// Authenticates for `access`, then runs `work` on a thread that may block, then
// finishes the call with what it returns. `request` and `response` live until then.
grpc::ServerUnaryReactor* RunUnary(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
                                   Access access, absl::AnyInvocable<absl::Status(const Caller&)> work);
// The same for work that wants to know of the call.
grpc::ServerUnaryReactor* RunUnary(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
                                   Access access,
                                   absl::AnyInvocable<absl::Status(const UnaryCall&, const Caller&)> work,
                                   absl::Duration longest = limits::kDefaultDeadline);

}  // namespace carillon
