#include "server/connect/connect_stream.h"

#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/status.h"
#include "server/connect/connect_error.h"
#include "server/connect/connect_request.h"

namespace carillon {
namespace {

constexpr absl::Duration kRetryWhenFull = absl::Milliseconds(200);

HttpResponse StreamResponse(ConnectCodec codec) {
  return {.status = 200,
          .content_type = std::string(ContentType(codec, /*is_stream=*/true)),
          .body = "",
          // Proxies are not to gather it.
          .headers = {{"X-Accel-Buffering", "no"}}};
}

// A stream that ends before it begins.
HttpResponse EndResponse(const absl::Status& status, ConnectCodec codec, const MessageJson& json) {
  HttpResponse response = StreamResponse(codec);
  response.body = EndEnvelope(EndOfStreamJson(ToGrpcStatus(status), {}, json));
  return response;
}

absl::StatusOr<std::string> RequestOf(const std::string& body, ConnectCodec codec,
                                      const google::protobuf::Descriptor& type, const MessageJson& json) {
  ASSIGN_OR_RETURN(std::string message, OpenEnvelope(body));
  if (codec == ConnectCodec::kJson) return json.ToBinary(type, message);
  RETURN_IF_ERROR(CheckBinary(type, message));
  return message;
}

// On a thread that may take its time.
void Begin(ConnectCalls& calls, const google::protobuf::MethodDescriptor& method, ConnectCodec codec,
           const HttpRequest& request, const HttpRespond& respond) {
  const auto fail = [&](const absl::Status& status) { respond(EndResponse(status, codec, calls.json)); };
  CallCount::Ticket ticket = calls.count.Take(CallCount::Kind::kStream);
  if (ticket == nullptr) return fail(error::Draining());
  const absl::StatusOr<std::string> message = RequestOf(request.body, codec, *method.input_type(), calls.json);
  if (!message.ok()) return fail(message.status());
  const auto stream = std::make_shared<ConnectStream>(calls, std::move(ticket), method, codec, *message);
  const absl::Status prepared = PrepareContext(request, /*is_stream=*/true, calls.clock.Now(), stream->context());
  if (!prepared.ok()) return fail(prepared);
  HttpResponse response = StreamResponse(codec);
  response.producer = stream;
  respond(std::move(response));
}

}  // namespace

void AnswerStream(ConnectCalls& calls, const google::protobuf::MethodDescriptor& method, HttpRequest request,
                  HttpRespond respond) {
  const std::optional<ConnectCodec> codec = ParseContentType(request.Header("content-type"), /*is_stream=*/true);
  if (!codec.has_value()) return respond(UnsupportedMediaType(/*is_stream=*/true));
  if (request.body.size() <= limits::kMaxInlineJsonBytes) return Begin(calls, method, *codec, request, respond);
  const auto shared = std::make_shared<const HttpRequest>(std::move(request));
  const bool taken = calls.executor.Submit(
      [&calls, &method, codec = *codec, shared, respond] { Begin(calls, method, codec, *shared, respond); });
  if (taken) return;
  respond(EndResponse(error::Overloaded("the queue of this server", kRetryWhenFull), *codec, calls.json));
}

ConnectStream::ConnectStream(ConnectCalls& calls, CallCount::Ticket ticket,
                             const google::protobuf::MethodDescriptor& method, ConnectCodec codec,
                             const std::string& request)
    : calls_(calls), ticket_(std::move(ticket)), method_(method), codec_(codec), request_(ToBuffer(request)) {}

void ConnectStream::OnOpen(std::shared_ptr<HttpBodySink> sink) {
  {
    absl::MutexLock lock(&mutex_);
    sink_ = std::move(sink);
    is_reading_ = true;
    is_held_ = true;
  }
  self_ = shared_from_this();
  calls_.stub.PrepareBidiStreamingCall(&context_, PathOf(method_), {}, this);
  AddHold();
  StartWriteLast(&request_, grpc::WriteOptions());
  StartRead(&message_);
  StartCall();
}

void ConnectStream::OnReadDone(bool ok) {
  if (!ok) return StopReading();
  absl::StatusOr<std::string> envelope = Envelop();
  std::shared_ptr<HttpBodySink> sink;
  {
    absl::MutexLock lock(&mutex_);
    is_reading_ = false;
    sink = sink_;
  }
  if (sink != nullptr && envelope.ok()) return sink->Write(*std::move(envelope));
  if (!envelope.ok()) fault_ = ToGrpcStatus(envelope.status());
  context_.TryCancel();
  StopReading();
}

absl::StatusOr<std::string> ConnectStream::Envelop() const {
  const std::string binary = ToBytes(message_);
  if (codec_ == ConnectCodec::kProto) return Envelope(binary);
  ASSIGN_OR_RETURN(const std::string json, calls_.json.ToJson(*method_.output_type(), binary));
  return Envelope(json);
}

void ConnectStream::OnWritten() {
  {
    absl::MutexLock lock(&mutex_);
    if (!is_held_) return;
    is_reading_ = true;
  }
  StartRead(&message_);
}

void ConnectStream::OnEnd() {
  bool is_reading = false;
  bool is_held = false;
  {
    absl::MutexLock lock(&mutex_);
    sink_.reset();
    is_reading = is_reading_;
    is_held = is_held_;
  }
  if (!is_held) return;
  // A read that is under way ends with it.
  context_.TryCancel();
  if (!is_reading) StopReading();
}

void ConnectStream::StopReading() {
  {
    absl::MutexLock lock(&mutex_);
    if (!std::exchange(is_held_, false)) return;
  }
  RemoveHold();
}

std::shared_ptr<HttpBodySink> ConnectStream::sink() {
  absl::MutexLock lock(&mutex_);
  return sink_;
}

void ConnectStream::OnDone(const grpc::Status& status) {
  const std::shared_ptr<ConnectStream> self = std::move(self_);
  const grpc::Status& end = fault_.has_value() ? *fault_ : status;
  const std::shared_ptr<HttpBodySink> to = sink();
  if (to == nullptr) return;
  to->Finish(EndEnvelope(EndOfStreamJson(end, context_.GetServerTrailingMetadata(), calls_.json)));
}

}  // namespace carillon
