#include "server/api/subscribe_call.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "server/api/status.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "feed";
constexpr char kMethod[] = "Subscribe";

// Without a copy: the slice holds the message that all streams share.
grpc::ByteBuffer ToByteBuffer(std::shared_ptr<const std::string> message) {
  auto* const owner = new std::shared_ptr<const std::string>(std::move(message));
  const grpc::Slice slice(
      const_cast<char*>((*owner)->data()), (*owner)->size(),
      [](void* held) { delete static_cast<std::shared_ptr<const std::string>*>(held); }, owner);
  return grpc::ByteBuffer(&slice, 1);
}

absl::StatusOr<v1::SubscribeRequest> ParseRequest(grpc::ByteBuffer bytes) {
  v1::SubscribeRequest request;
  grpc::ProtoBufferReader reader(&bytes);
  if (!reader.status().ok() || !request.ParseFromZeroCopyStream(&reader)) {
    return absl::InvalidArgumentError("the request is not a SubscribeRequest");
  }
  return request;
}

absl::Status Validate(const v1::SubscribeRequest& request) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  if (request.after_seq() < 0) violations.Add("after_seq", "must be at least 0");
  return violations.ToStatus();
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* SubscribeCall::Start(ServerCalls& calls, LiveHub& hub,
                                                                 grpc::CallbackServerContext* context,
                                                                 const grpc::ByteBuffer& request) {
  auto call = std::make_shared<SubscribeCall>(calls, hub, context);
  SubscribeCall* const reactor = call.get();
  reactor->self_ = call;
  absl::StatusOr<v1::SubscribeRequest> parsed = ParseRequest(request);
  if (!parsed.ok()) {
    reactor->Open(parsed.status(), {});
    return reactor;
  }
  calls.authenticator.Authenticate(
      *context, kScope, [call = std::move(call), request = *std::move(parsed)](absl::StatusOr<Caller> caller) {
        call->Open(caller, request);
      });
  return reactor;
}

SubscribeCall::SubscribeCall(ServerCalls& calls, LiveHub& hub, grpc::CallbackServerContext* context)
    : calls_(calls), hub_(hub), context_(context), request_id_(NewUuid7(calls.clock.Now()).ToString()) {}

void SubscribeCall::Open(const absl::StatusOr<Caller>& caller, const v1::SubscribeRequest& request) {
  const absl::Status opened = caller.ok() ? OpenStream(*caller, request) : caller.status();
  {
    absl::MutexLock lock(&mutex_);
    state_ = opened.ok() ? State::kIdle : State::kFinished;
  }
  if (!opened.ok()) return FinishWith(opened);
  Pump();
}

absl::Status SubscribeCall::OpenStream(const Caller& caller, const v1::SubscribeRequest& request) {
  RETURN_IF_ERROR(Validate(request));
  const FeedKey key{.app = caller.app, .recipient = RecipientId(request.user_id())};
  ASSIGN_OR_RETURN(stream_, hub_.Open(key, request.after_seq(), shared_from_this()));
  // Tells the client that from here on nothing escapes it.
  StartSendInitialMetadata();
  log::Debug("stream.opened", {{"request_id", request_id_}, {"after_seq", request.after_seq()}});
  return absl::OkStatus();
}

// gRPC may call back on this thread, so its operations are started without the lock.
void SubscribeCall::Pump() {
  const std::optional<StreamStep> step = NextStep();
  if (!step.has_value()) return;
  if (step->message == nullptr) return FinishWith(step->status);
  message_ = ToByteBuffer(step->message);
  StartWrite(&message_);
}

std::optional<StreamStep> SubscribeCall::NextStep() {
  absl::MutexLock lock(&mutex_);
  if (state_ != State::kIdle) return std::nullopt;
  std::optional<StreamStep> step;
  if (cancelled_) {
    step = StreamStep{.message = nullptr, .status = absl::CancelledError("the client is gone")};
  } else {
    step = hub_.Take(stream_);
  }
  if (step.has_value()) state_ = step->message == nullptr ? State::kFinished : State::kWriting;
  return step;
}

void SubscribeCall::FinishWith(const absl::Status& status) {
  const grpc::Status result = ToGrpcStatus(status, request_id_);
  calls_.metrics.Count(kMethod, result.error_code());
  log::Debug("rpc.finished",
             {{"request_id", request_id_}, {"method", kMethod}, {"code", static_cast<int>(result.error_code())}});
  Finish(result);
}

void SubscribeCall::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kIdle;
    cancelled_ = cancelled_ || !ok;
  }
  Pump();
}

void SubscribeCall::OnCancel() {
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
  }
  Pump();
}

void SubscribeCall::OnAbandoned() {
  absl::MutexLock lock(&mutex_);
  // While a write is under way the context lives. Cancelling fails the write.
  if (state_ == State::kWriting) context_->TryCancel();
}

void SubscribeCall::OnDone() {
  if (stream_ != nullptr) hub_.Close(stream_);
  self_.reset();
}

}  // namespace carillon
