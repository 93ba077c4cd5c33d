// NotificationService: the door, and what became of what came in.
#pragma once

#include <memory>

#include "absl/functional/any_invocable.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/event_store.h"
#include "carillon/ports/explain_store.h"
#include "carillon/ports/interaction_store.h"
#include "carillon/ports/notification_store.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/v1/notification_service.grpc.pb.h"
#include "server/api/arena_allocator.h"
#include "server/api/dry_run.h"
#include "server/api/explain.h"
#include "server/api/notification_reader.h"
#include "server/api/recurrence_requests.h"
#include "server/api/unary_call.h"
#include "server/api/watch_notification.h"
#include "server/ingest/door_limits.h"
#include "server/ingest/ingest_writer.h"
#include "server/ingest/outbox_guard.h"
#include "server/ingest/reaction_writer.h"

namespace carillon {

class NotificationServiceImpl final : public v1::NotificationService::CallbackService {
 public:
  struct Deps {
    IngestWriters& writers;
    const OutboxGuard& outbox;
    OutboxWaker& waker;
    ReactionWriter& reactions;
    std::shared_ptr<NotificationStore> store;
    std::shared_ptr<DeliveryStore> deliveries;
    std::shared_ptr<EventStore> events;
    std::shared_ptr<InteractionStore> interactions;
    std::shared_ptr<RecurrenceRequests> recurrences;
    const Catalogue& catalogue;
    std::shared_ptr<ExplainStore> explanations;
    DecisionMaker& decisions;  // For dry runs.
    DoorLimits& limits;
    NotificationWatches& watches;
    NotificationReader::Pressure pressure;  // Of delays.
  };

  NotificationServiceImpl(ServerCalls& calls, Deps deps)
      : calls_(calls),
        deps_(std::move(deps)),
        reader_(deps_.store, deps_.deliveries, deps_.pressure, calls.clock),
        explainer_({.store = deps_.store,
                    .deliveries = deps_.deliveries,
                    .facts = deps_.explanations,
                    .catalogue = deps_.catalogue}),
        dry_runner_({.catalogue = deps_.catalogue,
                     .decisions = deps_.decisions,
                     .events = deps_.events,
                     .deliveries = deps_.deliveries}) {
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
  grpc::ServerWriteReactor<v1::WatchNotificationResponse>* WatchNotification(
      grpc::CallbackServerContext* context, const v1::WatchNotificationRequest* request) override;
  grpc::ServerUnaryReactor* CancelNotification(grpc::CallbackServerContext* context,
                                               const v1::CancelNotificationRequest* request,
                                               v1::CancelNotificationResponse* response) override;
  grpc::ServerUnaryReactor* ListNotifications(grpc::CallbackServerContext* context,
                                              const v1::ListNotificationsRequest* request,
                                              v1::ListNotificationsResponse* response) override;

  grpc::ServerUnaryReactor* ExplainNotification(grpc::CallbackServerContext* context,
                                                const v1::ExplainNotificationRequest* request,
                                                v1::ExplainNotificationResponse* response) override;
  grpc::ServerUnaryReactor* DryRun(grpc::CallbackServerContext* context, const v1::DryRunRequest* request,
                                   v1::DryRunResponse* response) override;

  grpc::ServerUnaryReactor* PublishEvent(grpc::CallbackServerContext* context, const v1::PublishEventRequest* request,
                                         v1::PublishEventResponse* response) override;
  grpc::ServerUnaryReactor* GetEvent(grpc::CallbackServerContext* context, const v1::GetEventRequest* request,
                                     v1::GetEventResponse* response) override;
  grpc::ServerUnaryReactor* PauseEvent(grpc::CallbackServerContext* context, const v1::PauseEventRequest* request,
                                       v1::PauseEventResponse* response) override;
  grpc::ServerUnaryReactor* ResumeEvent(grpc::CallbackServerContext* context, const v1::ResumeEventRequest* request,
                                        v1::ResumeEventResponse* response) override;
  grpc::ServerUnaryReactor* CancelEvent(grpc::CallbackServerContext* context, const v1::CancelEventRequest* request,
                                        v1::CancelEventResponse* response) override;

  grpc::ServerUnaryReactor* RecordReactions(grpc::CallbackServerContext* context,
                                            const v1::RecordReactionsRequest* request,
                                            v1::RecordReactionsResponse* response) override;
  grpc::ServerUnaryReactor* RecordReceipts(grpc::CallbackServerContext* context,
                                           const v1::RecordReceiptsRequest* request,
                                           v1::RecordReceiptsResponse* response) override;

  grpc::ServerUnaryReactor* CreateRecurrence(grpc::CallbackServerContext* context,
                                             const v1::CreateRecurrenceRequest* request,
                                             v1::CreateRecurrenceResponse* response) override;
  grpc::ServerUnaryReactor* ListRecurrences(grpc::CallbackServerContext* context,
                                            const v1::ListRecurrencesRequest* request,
                                            v1::ListRecurrencesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteRecurrence(grpc::CallbackServerContext* context,
                                             const v1::DeleteRecurrenceRequest* request,
                                             v1::DeleteRecurrenceResponse* response) override;

 private:
  using CallPtr = std::shared_ptr<UnaryCall>;

  void Send(const CallPtr& call, AppId app, const v1::SendNotificationRequest* request,
            v1::SendNotificationResponse* response);
  void SendBatch(const CallPtr& call, AppId app, const v1::BatchSendNotificationsRequest* request,
                 v1::BatchSendNotificationsResponse* response);
  // Hands it to the writer, once the limits have let it in.
  void Submit(const CallPtr& call, AppId app, Lane lane, IngestRequest ingest);
  void Submit(const CallPtr& call, AppId app, ReactionRequest reactions);
  // Goes on once the limits have let it in; else the call ends. Does not block.
  void Admit(const CallPtr& call, const AppPolicy& policy, DoorLimits::Call entry, absl::AnyInvocable<void()> go_on);
  void Record(const CallPtr& call, AppId app, const v1::RecordReactionsRequest& request);
  absl::Status Publish(const UnaryCall& call, AppId app, const v1::PublishEventRequest& request,
                       v1::PublishEventResponse* response);
  // With its timeline, deliveries and delay.
  absl::Status Show(AppId app, const NotificationId& id, v1::Notification* out);
  absl::Status List(AppId app, const v1::ListNotificationsRequest& request, v1::ListNotificationsResponse* response);

  ArenaAllocator<v1::SendNotificationRequest, v1::SendNotificationResponse> send_messages_;
  ArenaAllocator<v1::BatchSendNotificationsRequest, v1::BatchSendNotificationsResponse, 64 * 1024> batch_messages_;
  ServerCalls& calls_;
  const Deps deps_;
  const NotificationReader reader_;
  const Explainer explainer_;
  DryRunner dry_runner_;
};

}  // namespace carillon
