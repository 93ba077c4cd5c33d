// One WatchNotification call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/api/unary_call.h"
#include "server/api/watch_notification.h"

namespace carillon {

// One write is under way at a time, and Finish is called once, when none is. It owns itself
// from Start to OnDone; the watches may hold it a little longer. Thread-safe.
class WatchNotificationCall final : public grpc::ServerWriteReactor<v1::WatchNotificationResponse>,
                                    public WatchListener,
                                    public std::enable_shared_from_this<WatchNotificationCall> {
 public:
  // Authenticates, then opens the watch. Everything given outlives the gRPC server.
  static grpc::ServerWriteReactor<v1::WatchNotificationResponse>* Start(ServerCalls& calls,
                                                                        NotificationWatches& watches,
                                                                        grpc::CallbackServerContext* context,
                                                                        std::string notification_id);

  WatchNotificationCall(ServerCalls& calls, NotificationWatches& watches)
      : calls_(calls), watches_(watches), request_id_(NewUuid7(calls.clock.Now())) {}

  // WatchListener
  void OnReady() override { Pump(); }

  // Reactions
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;

 private:
  enum class State {
    kOpening,   // Until there is a watch.
    kIdle,      // Nothing to send.
    kWriting,   // OnWriteDone follows.
    kFinished,  // Finish was called.
  };

  void Open(const absl::StatusOr<Caller>& caller, const std::string& notification_id);
  absl::Status OpenWatch(const Caller& caller, const std::string& notification_id);
  // Writes what is new, or finishes, if that can be done now.
  void Pump() ABSL_LOCKS_EXCLUDED(mutex_);
  // With it the state moves on to kWriting or kFinished.
  std::optional<WatchStep> NextStep() ABSL_LOCKS_EXCLUDED(mutex_);
  // In kFinished.
  void FinishWith(const absl::Status& status);

  ServerCalls& calls_;
  NotificationWatches& watches_;
  const Uuid request_id_;
  std::shared_ptr<WatchNotificationCall> self_;
  // Set once, before kIdle.
  NotificationWatches::WatchPtr watch_;

  absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kOpening;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // What is being written; belongs to gRPC while kWriting.
  v1::WatchNotificationResponse message_;
};

}  // namespace carillon
