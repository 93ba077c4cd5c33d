// One unary call with its deadline and its repeats.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/carillon/client_core.h"
#include "client/carillon/retry_policy.h"
#include "client/carillon/status.h"

namespace carillon {

// Owns itself from Start until `done` has been called, which happens exactly
// once, on a thread of gRPC.
template <typename Request, typename Response>
class UnaryCall : public std::enable_shared_from_this<UnaryCall<Request, Response>> {
 public:
  // Begins one attempt; as the generated stubs' async()-> methods.
  using Method =
      std::function<void(grpc::ClientContext*, const Request*, Response*, std::function<void(grpc::Status)>)>;
  using Done = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

  // `deadline`: of one attempt.
  static void Start(ClientCore& core, Method method, Request request, bool repeatable, absl::Duration deadline,
                    Done done) {
    core.calls.Begin();
    std::shared_ptr<UnaryCall> call(
        new UnaryCall(core, std::move(method), std::move(request), repeatable, deadline, std::move(done)));
    call->Attempt();
  }

 private:
  UnaryCall(ClientCore& core, Method method, Request request, bool repeatable, absl::Duration deadline, Done done)
      : core_(core),
        method_(std::move(method)),
        request_(std::move(request)),
        deadline_(deadline),
        done_(std::move(done)),
        begin_(MonotonicNow()),
        policy_(core.options.retry, repeatable) {}

  void Attempt() {
    // A single attempt may take longer than repeats may in all.
    const absl::Duration total = std::max(core_.options.retry.total_time, deadline_);
    limit_ = std::min(deadline_, total - (MonotonicNow() - begin_));
    context_.emplace();
    context_->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(limit_));
    core_.Authenticate(*context_);
    response_.Clear();
    method_(&*context_, &request_, &response_,
            [self = this->shared_from_this()](const grpc::Status& status) { self->OnAnswer(FromGrpcStatus(status)); });
  }

  void OnAnswer(const absl::Status& status) {
    if (status.ok()) return Complete(std::move(response_));
    const std::optional<absl::Duration> delay = policy_.DelayAfter(status, MonotonicNow() - begin_);
    if (!delay.has_value()) return Complete(InWords(status));
    if (core_.options.on_retry) core_.options.on_retry(status, *delay);
    core_.timer.Schedule(*delay, [self = this->shared_from_this()] { self->Attempt(); });
  }

  // What gRPC says of a deadline names no time. A server's own words carry a reason.
  absl::Status InWords(const absl::Status& status) const {
    if (!absl::IsDeadlineExceeded(status) || !ReasonOf(status).empty()) return status;
    const double seconds = absl::ToDoubleSeconds(absl::Trunc(limit_, absl::Milliseconds(10)));
    return absl::DeadlineExceededError(
        absl::StrCat("the server did not answer within the ", seconds, " s that the call had"));
  }

  void Complete(absl::StatusOr<Response> result) {
    // Lets go of the channel while the core is sure to live.
    context_.reset();
    done_(std::move(result));
    core_.calls.End();
  }

  ClientCore& core_;
  const Method method_;
  const Request request_;
  const absl::Duration deadline_;
  Done done_;
  const absl::Duration begin_;
  absl::Duration limit_;  // Of the newest attempt.
  RetryPolicy policy_;
  std::optional<grpc::ClientContext> context_;
  Response response_;
};

}  // namespace carillon
