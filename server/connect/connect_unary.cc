#include "server/connect/connect_unary.h"

#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/connect/connect_error.h"
#include "server/connect/connect_request.h"

namespace carillon {
namespace {

constexpr absl::Duration kRetryWhenFull = absl::Milliseconds(200);

// Kept by whoever works on it, until it is answered.
struct Call {
  Call(ConnectCalls& calls, CallCount::Ticket ticket, const google::protobuf::MethodDescriptor& method,
       ConnectCodec codec)
      : calls(calls), ticket(std::move(ticket)), method(method), codec(codec) {}

  ConnectCalls& calls;
  const CallCount::Ticket ticket;
  const google::protobuf::MethodDescriptor& method;
  const ConnectCodec codec;
  HttpRespond respond;
  std::string body;
  grpc::ClientContext context;
  grpc::ByteBuffer request;
  grpc::ByteBuffer response;

  void Fail(const absl::Status& status) const { respond(ConnectErrorResponse(status, calls.json)); }
};
using CallPointer = std::shared_ptr<Call>;

absl::StatusOr<std::string> RequestOf(const Call& call) {
  const google::protobuf::Descriptor& type = *call.method.input_type();
  if (call.codec == ConnectCodec::kJson) return call.calls.json.ToBinary(type, call.body);
  RETURN_IF_ERROR(CheckBinary(type, call.body));
  return call.body;
}

absl::StatusOr<std::string> ResponseOf(const Call& call) {
  std::string binary = ToBytes(call.response);
  if (call.codec == ConnectCodec::kProto) return binary;
  return call.calls.json.ToJson(*call.method.output_type(), binary);
}

void Answer(const CallPointer& call) {
  absl::StatusOr<std::string> body = ResponseOf(*call);
  if (!body.ok()) return call->Fail(body.status());
  HttpResponse response{.status = 200,
                        .content_type = std::string(ContentType(call->codec, /*is_stream=*/false)),
                        .body = *std::move(body),
                        .headers = {}};
  AddTrailers(call->context.GetServerTrailingMetadata(), response);
  call->respond(std::move(response));
}

void Finish(const CallPointer& call, const grpc::Status& status) {
  if (!status.ok()) {
    HttpResponse response = ConnectErrorResponse(status, call->calls.json);
    AddTrailers(call->context.GetServerTrailingMetadata(), response);
    return call->respond(std::move(response));
  }
  // What is done is told, though it may take this thread a while.
  const bool is_small = call->response.Length() <= limits::kMaxInlineJsonBytes;
  if (is_small || !call->calls.executor.Submit([call] { Answer(call); })) Answer(call);
}

void Begin(const CallPointer& call) {
  const absl::StatusOr<std::string> request = RequestOf(*call);
  if (!request.ok()) return call->Fail(request.status());
  call->body = std::string();
  call->request = ToBuffer(*request);
  call->calls.stub.UnaryCall(&call->context, PathOf(call->method), {}, &call->request, &call->response,
                             [call](const grpc::Status& status) { Finish(call, status); });
}

}  // namespace

void AnswerUnary(ConnectCalls& calls, const google::protobuf::MethodDescriptor& method, HttpRequest request,
                 HttpRespond respond) {
  const std::optional<ConnectCodec> codec = ParseContentType(request.Header("content-type"), /*is_stream=*/false);
  if (!codec.has_value()) return respond(UnsupportedMediaType(/*is_stream=*/false));
  CallCount::Ticket ticket = calls.count.Take(CallCount::Kind::kUnary);
  if (ticket == nullptr) return respond(ConnectErrorResponse(error::Draining(), calls.json));
  const auto call = std::make_shared<Call>(calls, std::move(ticket), method, *codec);
  call->respond = std::move(respond);
  if (request.client != nullptr) {
    request.client->OnGone([called = std::weak_ptr<Call>(call)] {
      if (const CallPointer left = called.lock(); left != nullptr) left->context.TryCancel();
    });
  }
  call->body = std::move(request.body);
  const absl::Status prepared = PrepareContext(request, /*is_stream=*/false, calls.clock.Now(), call->context);
  if (!prepared.ok()) return call->Fail(prepared);
  if (call->body.size() <= limits::kMaxInlineJsonBytes) return Begin(call);
  if (!calls.executor.Submit([call] { Begin(call); })) {
    call->Fail(error::Overloaded("the queue of this server", kRetryWhenFull));
  }
}

}  // namespace carillon
