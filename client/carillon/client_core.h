// What the calls of one client share: the connection, the stubs, the timer.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/v1/admin_service.grpc.pb.h"
#include "carillon/v1/catalog_service.grpc.pb.h"
#include "carillon/v1/feed_service.grpc.pb.h"
#include "carillon/v1/notification_service.grpc.pb.h"
#include "carillon/v1/recipient_service.grpc.pb.h"
#include "client/carillon/options.h"
#include "client/carillon/timer.h"

namespace carillon {

// Counts what runs, so that an owner can wait until nothing does. Thread-safe.
class RunningCalls {
 public:
  void Begin();
  void End();
  void WaitForNone();

 private:
  absl::Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Thread-safe.
class ClientCore {
 public:
  explicit ClientCore(ClientOptions client_options);
  // Waits for the calls that run; each ends within RetryOptions::total_time.
  ~ClientCore();

  // Puts the credentials on a call; returns the token, if it is one.
  std::string Authenticate(grpc::ClientContext& context) const;

  const ClientOptions options;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::NotificationService::Stub> notifications;
  const std::unique_ptr<v1::FeedService::Stub> feed;
  const std::unique_ptr<v1::RecipientService::Stub> recipients;
  const std::unique_ptr<v1::CatalogService::Stub> catalog;
  const std::unique_ptr<v1::AdminService::Stub> admin;
  RunningCalls calls;
  Timer timer;
};

}  // namespace carillon
