#include "server/api/subscribe_call.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/event.h"
#include "carillon/domain/status_macros.h"
#include "carillon/domain/trace_context.h"
#include "carillon/runtime/logging.h"
#include "server/api/own_request.h"
#include "server/api/raw_message.h"
#include "server/api/status.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "feed";

void CheckAfterSeq(int64_t after_seq, Violations& violations) {
  if (after_seq < 0) violations.Add("after_seq", "must be at least 0");
}

}  // namespace

absl::StatusOr<StreamPlace> PlaceInFeed(const Caller& caller, v1::SubscribeRequest request) {
  RETURN_IF_ERROR(MakeOwn(caller, request));
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  CheckAfterSeq(request.after_seq(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return StreamPlace{.recipient = RecipientId(request.user_id()), .after_seq = request.after_seq()};
}

absl::StatusOr<StreamPlace> PlaceInTopicFeed(const v1::SubscribeTopicRequest& request) {
  Violations violations;
  violations.CheckId("topic_id", request.topic_id(), /*required=*/true);
  CheckAfterSeq(request.after_seq(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return StreamPlace{.recipient = TopicFeedKey(AppId(0), request.topic_id()).recipient,
                     .after_seq = request.after_seq()};
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* SubscribeCall::Start(ServerCalls& calls, LiveHub& hub,
                                                                 grpc::CallbackServerContext* context,
                                                                 const char* method, PlaceOf place_of) {
  auto call = std::make_shared<SubscribeCall>(calls, hub, context, method);
  SubscribeCall* const reactor = call.get();
  reactor->self_ = call;
  calls.authenticator.Authenticate(*context, Access::WithUsers(kScope),
                                   [call = std::move(call), place_of = std::move(place_of)](
                                       const absl::StatusOr<Caller>& caller) { call->Open(caller, place_of); });
  return reactor;
}

SubscribeCall::SubscribeCall(ServerCalls& calls, LiveHub& hub, grpc::CallbackServerContext* context, const char* method)
    : calls_(calls), hub_(hub), context_(context), method_(method), request_id_(NewUuid7(calls.clock.Now())) {}

void SubscribeCall::Open(const absl::StatusOr<Caller>& caller, const PlaceOf& place_of) {
  const absl::Status opened = caller.ok() ? OpenStream(*caller, place_of) : caller.status();
  {
    absl::MutexLock lock(&mutex_);
    state_ = opened.ok() ? State::kIdle : State::kFinished;
  }
  if (!opened.ok()) return FinishWith(opened);
  Pump();
}

absl::Status SubscribeCall::OpenStream(const Caller& caller, const PlaceOf& place_of) {
  ASSIGN_OR_RETURN(const StreamPlace place, place_of(caller));
  const FeedKey key{.app = caller.app, .recipient = place.recipient};
  ASSIGN_OR_RETURN(stream_, hub_.Open(key, place.after_seq, shared_from_this(),
                                      calls_.authenticator.PermitFor(caller, kScope), caller.user));
  // Tells the client that from here on nothing escapes it.
  StartSendInitialMetadata();
  log::Debug("stream.opened", {{"request_id", request_id_.ToString()}, {"after_seq", place.after_seq}});
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
  const grpc::Status result = ToGrpcStatus(status, request_id_.ToString());
  calls_.metrics.Count(method_, result.error_code());
  log::Debug("rpc.finished", {{"request_id", request_id_.ToString()},
                              {"method", method_},
                              {"code", static_cast<int>(result.error_code())},
                              {"trace_id", TraceIdOf(TraceOf(*context_))}});
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
