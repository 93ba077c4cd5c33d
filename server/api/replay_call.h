// One ReplayDeadLetters call: tells its client how far a run is.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "carillon/v1/admin_service.pb.h"
#include "server/api/replay_runner.h"
#include "server/api/unary_call.h"

namespace carillon {

// One write is under way at a time; of what a client is too slow for it gets the newest.
// Finish is called once, when the run has ended and no write is under way. It owns itself
// from Start to OnDone; the run may hold it a little longer. Thread-safe.
class ReplayCall final : public grpc::ServerWriteReactor<v1::ReplayDeadLettersResponse>,
                         public ReplaySink,
                         public std::enable_shared_from_this<ReplayCall> {
 public:
  // Authenticates, then begins. Everything given outlives the gRPC server.
  static grpc::ServerWriteReactor<v1::ReplayDeadLettersResponse>* Start(ServerCalls& calls,
                                                                        DeadLetterRequests& requests,
                                                                        ReplayRunner& runner,
                                                                        grpc::CallbackServerContext* context,
                                                                        const v1::ReplayDeadLettersRequest& request);

  explicit ReplayCall(ServerCalls& calls);

  // ReplaySink
  void OnProgress(const ReplayProgress& progress) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEnd(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);
  // Also once the caller's secret or scope was taken away.
  bool is_cancelled() const override ABSL_LOCKS_EXCLUDED(mutex_);

  // Reactions
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;

 private:
  enum class State { kIdle, kWriting, kFinished };

  // Writes the newest, or finishes, if that can be done now.
  void Pump() ABSL_LOCKS_EXCLUDED(mutex_);

  ServerCalls& calls_;
  const Uuid request_id_;
  std::shared_ptr<ReplayCall> self_;
  // Set before the run begins.
  StreamPermit permit_;

  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kIdle;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // What the permit failed with.
  mutable absl::Status refused_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::ReplayDeadLettersResponse> newest_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  // What is being written; belongs to gRPC while kWriting.
  v1::ReplayDeadLettersResponse message_;
};

// What a client is told of it.
v1::ReplayDeadLettersResponse ToProto(const ReplayProgress& progress);

}  // namespace carillon
