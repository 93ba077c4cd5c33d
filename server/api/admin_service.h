// AdminService: apps and their limits, queues, dead letters, providers, statistics.
#pragma once

#include <memory>

#include "carillon/ports/catalog_store.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/stats_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/ports/trip_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/admin_service.grpc.pb.h"
#include "server/api/dead_letter_requests.h"
#include "server/api/provider_requests.h"
#include "server/api/queue_requests.h"
#include "server/api/replay_runner.h"
#include "server/api/unary_call.h"

namespace carillon {

class AdminServiceImpl final : public v1::AdminService::CallbackService {
 public:
  struct Deps {
    std::shared_ptr<AppStore> apps;
    std::shared_ptr<DeadLetterRequests> dead_letters;
    // For what looks at all of them: on threads of its own.
    ServerCalls& letter_calls;
    ReplayRunner& replays;
    std::shared_ptr<QueueRequests> queues;
    std::shared_ptr<ProviderRequests> providers;
    std::shared_ptr<StatsStore> stats;
    std::shared_ptr<TripStore> trips;
    // What is changed here counts here at once; elsewhere within about a second.
    Catalogue& catalogue;
    OutboxWaker& waker;
    const StopSignal& stop;
  };

  AdminServiceImpl(ServerCalls& calls, Deps deps) : calls_(calls), deps_(std::move(deps)) {}

  grpc::ServerUnaryReactor* CreateApp(grpc::CallbackServerContext* context, const v1::CreateAppRequest* request,
                                      v1::CreateAppResponse* response) override;
  grpc::ServerUnaryReactor* RotateAppSecret(grpc::CallbackServerContext* context,
                                            const v1::RotateAppSecretRequest* request,
                                            v1::RotateAppSecretResponse* response) override;
  grpc::ServerUnaryReactor* UpdateApp(grpc::CallbackServerContext* context, const v1::UpdateAppRequest* request,
                                      v1::UpdateAppResponse* response) override;
  grpc::ServerUnaryReactor* ListTrippedSenders(grpc::CallbackServerContext* context,
                                               const v1::ListTrippedSendersRequest* request,
                                               v1::ListTrippedSendersResponse* response) override;
  grpc::ServerUnaryReactor* LiftTrippedSender(grpc::CallbackServerContext* context,
                                              const v1::LiftTrippedSenderRequest* request,
                                              v1::LiftTrippedSenderResponse* response) override;
  grpc::ServerUnaryReactor* AdvanceClock(grpc::CallbackServerContext* context, const v1::AdvanceClockRequest* request,
                                         v1::AdvanceClockResponse* response) override;
  grpc::ServerUnaryReactor* ListQueues(grpc::CallbackServerContext* context, const v1::ListQueuesRequest* request,
                                       v1::ListQueuesResponse* response) override;
  grpc::ServerUnaryReactor* ListDeadLetters(grpc::CallbackServerContext* context,
                                            const v1::ListDeadLettersRequest* request,
                                            v1::ListDeadLettersResponse* response) override;
  grpc::ServerUnaryReactor* SummarizeDeadLetters(grpc::CallbackServerContext* context,
                                                 const v1::SummarizeDeadLettersRequest* request,
                                                 v1::SummarizeDeadLettersResponse* response) override;
  grpc::ServerUnaryReactor* GetDeadLetter(grpc::CallbackServerContext* context, const v1::GetDeadLetterRequest* request,
                                          v1::GetDeadLetterResponse* response) override;
  grpc::ServerWriteReactor<v1::ReplayDeadLettersResponse>* ReplayDeadLetters(
      grpc::CallbackServerContext* context, const v1::ReplayDeadLettersRequest* request) override;
  grpc::ServerUnaryReactor* PurgeDeadLetters(grpc::CallbackServerContext* context,
                                             const v1::PurgeDeadLettersRequest* request,
                                             v1::PurgeDeadLettersResponse* response) override;
  grpc::ServerUnaryReactor* ListReplays(grpc::CallbackServerContext* context, const v1::ListReplaysRequest* request,
                                        v1::ListReplaysResponse* response) override;
  grpc::ServerUnaryReactor* SetProviders(grpc::CallbackServerContext* context, const v1::SetProvidersRequest* request,
                                         v1::SetProvidersResponse* response) override;
  grpc::ServerUnaryReactor* ListProviders(grpc::CallbackServerContext* context, const v1::ListProvidersRequest* request,
                                          v1::ListProvidersResponse* response) override;
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context, const v1::GetStatsRequest* request,
                                     v1::GetStatsResponse* response) override;

 private:
  absl::Status Create(const v1::CreateAppRequest& request, v1::CreateAppResponse* response);
  absl::Status Update(const v1::UpdateAppRequest& request, v1::UpdateAppResponse* response);
  absl::Status ListTripped(const v1::ListTrippedSendersRequest& request, v1::ListTrippedSendersResponse* response);
  absl::Status Lift(const v1::LiftTrippedSenderRequest& request, v1::LiftTrippedSenderResponse* response);
  absl::Status WaitUntilDecided(AppId app);
  absl::Status Advance(AppId app, const v1::AdvanceClockRequest& request, v1::AdvanceClockResponse* response);

  ServerCalls& calls_;
  const Deps deps_;
};

}  // namespace carillon
