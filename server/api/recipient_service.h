// RecipientService: how people are reached and want to be told, who follows whom, and who
// subscribes to which topic.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "carillon/ports/membership_store.h"
#include "carillon/v1/recipient_service.grpc.pb.h"
#include "server/api/person_data.h"
#include "server/api/recipient_contacts.h"
#include "server/api/settings_requests.h"
#include "server/api/suppressions.h"
#include "server/api/unary_call.h"

namespace carillon {

// Everything given outlives the gRPC server. Thread-safe.
class RecipientServiceImpl final : public v1::RecipientService::CallbackService {
 public:
  struct Deps {
    std::shared_ptr<MembershipStore> memberships;
    std::shared_ptr<RecipientStore> recipients;
    std::shared_ptr<SuppressionStore> suppressions;
    std::shared_ptr<PersonStore> persons;
    std::shared_ptr<SettingsStore> settings;
    const Catalogue& catalogue;
    UserTokens tokens;
    // For calls that export and erase: threads of their own, since they take long.
    ServerCalls& slow_calls;
  };

  RecipientServiceImpl(ServerCalls& calls, Deps deps)
      : calls_(calls),
        slow_calls_(deps.slow_calls),
        store_(std::move(deps.memberships)),
        contacts_(std::move(deps.recipients)),
        suppressions_(std::move(deps.suppressions)),
        persons_(std::move(deps.persons)),
        settings_(std::move(deps.settings), deps.catalogue, calls.clock),
        tokens_(std::move(deps.tokens)) {}

  grpc::ServerUnaryReactor* UpdateRecipient(grpc::CallbackServerContext* context,
                                            const v1::UpdateRecipientRequest* request,
                                            v1::UpdateRecipientResponse* response) override;
  grpc::ServerUnaryReactor* GetRecipient(grpc::CallbackServerContext* context, const v1::GetRecipientRequest* request,
                                         v1::GetRecipientResponse* response) override;
  grpc::ServerUnaryReactor* RegisterDevice(grpc::CallbackServerContext* context,
                                           const v1::RegisterDeviceRequest* request,
                                           v1::RegisterDeviceResponse* response) override;
  grpc::ServerUnaryReactor* RemoveDevice(grpc::CallbackServerContext* context, const v1::RemoveDeviceRequest* request,
                                         v1::RemoveDeviceResponse* response) override;
  grpc::ServerUnaryReactor* ExportRecipient(grpc::CallbackServerContext* context,
                                            const v1::ExportRecipientRequest* request,
                                            v1::ExportRecipientResponse* response) override;
  grpc::ServerUnaryReactor* EraseRecipient(grpc::CallbackServerContext* context,
                                           const v1::EraseRecipientRequest* request,
                                           v1::EraseRecipientResponse* response) override;
  grpc::ServerUnaryReactor* UpdateSettings(grpc::CallbackServerContext* context,
                                           const v1::UpdateSettingsRequest* request,
                                           v1::UpdateSettingsResponse* response) override;
  grpc::ServerUnaryReactor* GetSettings(grpc::CallbackServerContext* context, const v1::GetSettingsRequest* request,
                                        v1::GetSettingsResponse* response) override;
  grpc::ServerUnaryReactor* AddMutes(grpc::CallbackServerContext* context, const v1::AddMutesRequest* request,
                                     v1::AddMutesResponse* response) override;
  grpc::ServerUnaryReactor* RemoveMutes(grpc::CallbackServerContext* context, const v1::RemoveMutesRequest* request,
                                        v1::RemoveMutesResponse* response) override;
  grpc::ServerUnaryReactor* ListMutes(grpc::CallbackServerContext* context, const v1::ListMutesRequest* request,
                                      v1::ListMutesResponse* response) override;
  grpc::ServerUnaryReactor* GetPreferenceCentre(grpc::CallbackServerContext* context,
                                                const v1::GetPreferenceCentreRequest* request,
                                                v1::GetPreferenceCentreResponse* response) override;

  grpc::ServerUnaryReactor* ListSuppressions(grpc::CallbackServerContext* context,
                                             const v1::ListSuppressionsRequest* request,
                                             v1::ListSuppressionsResponse* response) override;
  grpc::ServerUnaryReactor* AddSuppression(grpc::CallbackServerContext* context,
                                           const v1::AddSuppressionRequest* request,
                                           v1::AddSuppressionResponse* response) override;
  grpc::ServerUnaryReactor* RemoveSuppression(grpc::CallbackServerContext* context,
                                              const v1::RemoveSuppressionRequest* request,
                                              v1::RemoveSuppressionResponse* response) override;

  grpc::ServerUnaryReactor* Follow(grpc::CallbackServerContext* context, const v1::FollowRequest* request,
                                   v1::FollowResponse* response) override;
  grpc::ServerUnaryReactor* Unfollow(grpc::CallbackServerContext* context, const v1::UnfollowRequest* request,
                                     v1::UnfollowResponse* response) override;
  grpc::ServerUnaryReactor* ListFollowers(grpc::CallbackServerContext* context, const v1::ListFollowersRequest* request,
                                          v1::ListFollowersResponse* response) override;
  grpc::ServerUnaryReactor* AddTopicSubscriptions(grpc::CallbackServerContext* context,
                                                  const v1::AddTopicSubscriptionsRequest* request,
                                                  v1::AddTopicSubscriptionsResponse* response) override;
  grpc::ServerUnaryReactor* RemoveTopicSubscriptions(grpc::CallbackServerContext* context,
                                                     const v1::RemoveTopicSubscriptionsRequest* request,
                                                     v1::RemoveTopicSubscriptionsResponse* response) override;
  grpc::ServerUnaryReactor* ListTopicSubscribers(grpc::CallbackServerContext* context,
                                                 const v1::ListTopicSubscribersRequest* request,
                                                 v1::ListTopicSubscribersResponse* response) override;

  grpc::ServerUnaryReactor* IssueUserToken(grpc::CallbackServerContext* context,
                                           const v1::IssueUserTokenRequest* request,
                                           v1::IssueUserTokenResponse* response) override;

 private:
  struct Page {
    std::vector<std::string> members;
    std::string next_page_token;
  };
  absl::StatusOr<Page> ReadPage(const Group& group, int page_size, const std::string& page_token);

  ServerCalls& calls_;
  ServerCalls& slow_calls_;
  const std::shared_ptr<MembershipStore> store_;
  RecipientContacts contacts_;
  Suppressions suppressions_;
  PersonData persons_;
  SettingsRequests settings_;
  const UserTokens tokens_;
};

}  // namespace carillon
