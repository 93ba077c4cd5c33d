// NotificationService: the door, and what became of what came in.
#pragma once

#include <memory>

#include "carillon/ports/notification_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/notification_service.grpc.pb.h"
#include "server/api/arena_allocator.h"
#include "server/api/unary_call.h"
#include "server/ingest/ingest_writer.h"

namespace carillon {

class NotificationServiceImpl final : public v1::NotificationService::CallbackService {
 public:
  NotificationServiceImpl(ServerCalls& calls, IngestWriters& writers, std::shared_ptr<NotificationStore> store,
                          const Catalogue& catalogue)
      : calls_(calls), writers_(writers), store_(std::move(store)), catalogue_(catalogue) {
    SetMessageAllocatorFor_SendNotification(&send_messages_);
    SetMessageAllocatorFor_BatchSendNotifications(&batch_messages_);
  }

  grpc::ServerUnaryReactor* SendNotification(grpc::CallbackServerContext* context,
                                             const v1::SendNotificationRequest* request,
                                             v1::SendNotificationResponse* response) override;
  grpc::ServerUnaryReactor* BatchSendNotifications(grpc::CallbackServerContext* context,
                                                   const v1::BatchSendNotificationsRequest* request,
                                                   v1::BatchSendNotificationsResponse* response) override;
  grpc::ServerUnaryReactor* GetNotification(grpc::CallbackServerContext* context,
                                            const v1::GetNotificationRequest* request,
                                            v1::GetNotificationResponse* response) override;
  grpc::ServerUnaryReactor* ListNotifications(grpc::CallbackServerContext* context,
                                              const v1::ListNotificationsRequest* request,
                                              v1::ListNotificationsResponse* response) override;

 private:
  using CallPtr = std::shared_ptr<UnaryCall>;

  void Send(const CallPtr& call, AppId app, const v1::SendNotificationRequest* request,
            v1::SendNotificationResponse* response);
  void SendBatch(const CallPtr& call, AppId app, const v1::BatchSendNotificationsRequest* request,
                 v1::BatchSendNotificationsResponse* response);
  absl::Status List(AppId app, const v1::ListNotificationsRequest& request, v1::ListNotificationsResponse* response);

  ArenaAllocator<v1::SendNotificationRequest, v1::SendNotificationResponse> send_messages_;
  ArenaAllocator<v1::BatchSendNotificationsRequest, v1::BatchSendNotificationsResponse, 64 * 1024> batch_messages_;
  ServerCalls& calls_;
  IngestWriters& writers_;
  const std::shared_ptr<NotificationStore> store_;
  const Catalogue& catalogue_;
};

}  // namespace carillon
