// A server stream of the Connect protocol.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/connect/connect_calls.h"
#include "server/connect/connect_protocol.h"
#include "server/http/http_message.h"

namespace carillon {

// As AnswerUnary; what goes wrong with the call is told by the message that ends the
// stream, after a 200.
void AnswerStream(ConnectCalls& calls, const google::protobuf::MethodDescriptor& method, HttpRequest request,
                  HttpRespond respond);

// Carries the RPC's messages to the client, one at a time: the next is read when the
// last has been written, so a slow client slows the RPC. It owns itself while the RPC is
// under way. Thread-safe.
class ConnectStream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public HttpBodyProducer,
                            public std::enable_shared_from_this<ConnectStream> {
 public:
  ConnectStream(ConnectCalls& calls, CallCount::Ticket ticket, const google::protobuf::MethodDescriptor& method,
                ConnectCodec codec, const std::string& request);

  // Before OnOpen.
  grpc::ClientContext& context() { return context_; }

  // HttpBodyProducer
  void OnOpen(std::shared_ptr<HttpBodySink> sink) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWritten() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEnd() override ABSL_LOCKS_EXCLUDED(mutex_);

  // Reactions
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone(const grpc::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Null once the client is gone.
  std::shared_ptr<HttpBodySink> sink() ABSL_LOCKS_EXCLUDED(mutex_);
  // Nothing more is read: OnDone may come. Idempotent.
  void StopReading() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::string> Envelop() const;

  ConnectCalls& calls_;
  const CallCount::Ticket ticket_;
  const google::protobuf::MethodDescriptor& method_;
  const ConnectCodec codec_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  // Belongs to gRPC while a read is under way.
  grpc::ByteBuffer message_;
  std::shared_ptr<ConnectStream> self_;
  std::optional<grpc::Status> fault_;

  absl::Mutex mutex_;
  std::shared_ptr<HttpBodySink> sink_ ABSL_GUARDED_BY(mutex_);
  bool is_reading_ ABSL_GUARDED_BY(mutex_) = false;
  // Reads are begun outside of reactions: OnDone has to wait for them.
  bool is_held_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace carillon
