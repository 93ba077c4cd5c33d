// One Subscribe or SubscribeTopic call: carries a live stream to a client.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "carillon/v1/feed_service.pb.h"
#include "server/api/unary_call.h"
#include "server/feed/live_hub.h"

namespace carillon {

// Where in which of the caller's feeds a stream begins.
struct StreamPlace {
  RecipientId recipient;
  int64_t after_seq = 0;
};
// Validated; a user's token reaches their own feed only, which an empty user_id means then.
absl::StatusOr<StreamPlace> PlaceInFeed(const Caller& caller, v1::SubscribeRequest request);
absl::StatusOr<StreamPlace> PlaceInTopicFeed(const v1::SubscribeTopicRequest& request);

// Events are sent as the bytes that the hub shares among streams. One write is
// under way at a time, and Finish is called once, when none is. It owns itself
// from Start to OnDone; the hub may hold it a little longer. Thread-safe.
class SubscribeCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                            public StreamSink,
                            public std::enable_shared_from_this<SubscribeCall> {
 public:
  using PlaceOf = std::function<absl::StatusOr<StreamPlace>(const Caller&)>;

  // Authenticates, then opens the stream, which goes on as long as its caller is let in.
  // `method` is a literal. Everything given outlives the gRPC server.
  static grpc::ServerWriteReactor<grpc::ByteBuffer>* Start(ServerCalls& calls, LiveHub& hub,
                                                           grpc::CallbackServerContext* context, const char* method,
                                                           PlaceOf place_of);

  SubscribeCall(ServerCalls& calls, LiveHub& hub, grpc::CallbackServerContext* context, const char* method);

  // StreamSink
  void OnReady() override { Pump(); }
  void OnAbandoned() override ABSL_LOCKS_EXCLUDED(mutex_);

  // Reactions
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;

 private:
  enum class State {
    kOpening,   // Until the hub has the stream.
    kIdle,      // Nothing to send.
    kWriting,   // OnWriteDone follows.
    kFinished,  // Finish was called: the context may be gone.
  };

  void Open(const absl::StatusOr<Caller>& caller, const PlaceOf& place_of);
  absl::Status OpenStream(const Caller& caller, const PlaceOf& place_of);
  // Writes the next event, or finishes, if that can be done now.
  void Pump() ABSL_LOCKS_EXCLUDED(mutex_);
  // With it the state moves on to kWriting or kFinished.
  std::optional<StreamStep> NextStep() ABSL_LOCKS_EXCLUDED(mutex_);
  // In kFinished.
  void FinishWith(const absl::Status& status);

  ServerCalls& calls_;
  LiveHub& hub_;
  grpc::CallbackServerContext* const context_;
  const char* const method_;
  const Uuid request_id_;
  std::shared_ptr<SubscribeCall> self_;
  // Set once, before kIdle.
  std::shared_ptr<LiveStream> stream_;

  absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kOpening;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // What is being written; belongs to gRPC while kWriting.
  grpc::ByteBuffer message_;
};

}  // namespace carillon
