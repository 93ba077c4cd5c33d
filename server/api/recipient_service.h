// RecipientService: who follows whom, and who subscribes to which topic.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "carillon/ports/membership_store.h"
#include "carillon/v1/recipient_service.grpc.pb.h"
#include "server/api/unary_call.h"

namespace carillon {

// Everything given outlives the gRPC server. Thread-safe.
class RecipientServiceImpl final : public v1::RecipientService::CallbackService {
 public:
  RecipientServiceImpl(ServerCalls& calls, std::shared_ptr<MembershipStore> store)
      : calls_(calls), store_(std::move(store)) {}

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

 private:
  struct Page {
    std::vector<std::string> members;
    std::string next_page_token;
  };
  absl::StatusOr<Page> ReadPage(const Group& group, int page_size, const std::string& page_token);

  ServerCalls& calls_;
  const std::shared_ptr<MembershipStore> store_;
};

}  // namespace carillon
