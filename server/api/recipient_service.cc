#include "server/api/recipient_service.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/issue_user_token.h"
#include "server/api/own_request.h"
#include "server/api/page_token.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "feed";
constexpr int kDefaultMembersPage = 100;
constexpr int kMaxMembersPage = 1000;

absl::Status CheckCount(absl::string_view field, int count) {
  if (count >= 1 && count <= limits::kMaxBatchSize) return absl::OkStatus();
  return error::InvalidField(field, absl::StrCat("must be 1 to ", limits::kMaxBatchSize));
}

// Of Follow and Unfollow alike.
template <typename Request>
absl::StatusOr<std::vector<Membership>> CheckedFollows(const Request& request) {
  RETURN_IF_ERROR(CheckCount("follows", request.follows_size()));
  std::vector<Membership> memberships;
  Violations violations;
  for (int i = 0; i < request.follows_size(); ++i) {
    const v1::FollowEdge& edge = request.follows(i);
    Violations own(absl::StrCat("follows[", i, "]."));
    own.CheckId("follower_id", edge.follower_id(), /*required=*/true);
    if (own.CheckId("followee_id", edge.followee_id(), /*required=*/true) && edge.followee_id() == edge.follower_id()) {
      own.Add("followee_id", "must differ from follower_id: nobody follows themselves");
    }
    violations.Append(own);
    memberships.push_back({.group_id = edge.followee_id(), .member_id = edge.follower_id()});
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return memberships;
}

// Of AddTopicSubscriptions and RemoveTopicSubscriptions alike.
template <typename Request>
absl::StatusOr<std::vector<Membership>> CheckedSubscriptions(const Request& request) {
  RETURN_IF_ERROR(CheckCount("subscriptions", request.subscriptions_size()));
  std::vector<Membership> memberships;
  Violations violations;
  for (int i = 0; i < request.subscriptions_size(); ++i) {
    const v1::TopicSubscription& subscription = request.subscriptions(i);
    Violations own(absl::StrCat("subscriptions[", i, "]."));
    own.CheckId("topic_id", subscription.topic_id(), /*required=*/true);
    own.CheckId("user_id", subscription.user_id(), /*required=*/true);
    violations.Append(own);
    memberships.push_back({.group_id = subscription.topic_id(), .member_id = subscription.user_id()});
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return memberships;
}

absl::Status CheckGroup(absl::string_view field, const std::string& id) {
  Violations violations;
  violations.CheckId(field, id, /*required=*/true);
  return violations.ToStatus();
}

}  // namespace

grpc::ServerUnaryReactor* RecipientServiceImpl::UpdateRecipient(grpc::CallbackServerContext* context,
                                                                const v1::UpdateRecipientRequest* request,
                                                                v1::UpdateRecipientResponse* response) {
  return RunUnary(calls_, context, "UpdateRecipient", kScope,
                  [=, this](const Caller& caller) { return contacts_.Update(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::GetRecipient(grpc::CallbackServerContext* context,
                                                             const v1::GetRecipientRequest* request,
                                                             v1::GetRecipientResponse* response) {
  return RunOwn(calls_, context, "GetRecipient", kScope, request,
                [=, this](AppId app, const auto& own) { return contacts_.Get(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::RegisterDevice(grpc::CallbackServerContext* context,
                                                               const v1::RegisterDeviceRequest* request,
                                                               v1::RegisterDeviceResponse* response) {
  return RunOwn(calls_, context, "RegisterDevice", kScope, request,
                [=, this](AppId app, const auto& own) { return contacts_.Register(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::RemoveDevice(grpc::CallbackServerContext* context,
                                                             const v1::RemoveDeviceRequest* request,
                                                             v1::RemoveDeviceResponse* response) {
  return RunOwn(calls_, context, "RemoveDevice", kScope, request,
                [=, this](AppId app, const auto& own) { return contacts_.Remove(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::ExportRecipient(grpc::CallbackServerContext* context,
                                                                const v1::ExportRecipientRequest* request,
                                                                v1::ExportRecipientResponse* response) {
  const auto work = [=, this](const UnaryCall&, const Caller& caller) {
    return persons_.Export(caller.app, *request, response);
  };
  return RunUnary(slow_calls_, context, "ExportRecipient", kScope, work, limits::kPersonDeadline);
}

grpc::ServerUnaryReactor* RecipientServiceImpl::EraseRecipient(grpc::CallbackServerContext* context,
                                                               const v1::EraseRecipientRequest* request,
                                                               v1::EraseRecipientResponse* response) {
  const auto work = [=, this](const UnaryCall& call, const Caller& caller) {
    const auto may_go_on = [&] { return !call.is_cancelled() && slow_calls_.clock.Now() < call.deadline(); };
    return persons_.Erase(caller.app, *request, may_go_on, response);
  };
  return RunUnary(slow_calls_, context, "EraseRecipient", kScope, work, limits::kPersonDeadline);
}

grpc::ServerUnaryReactor* RecipientServiceImpl::UpdateSettings(grpc::CallbackServerContext* context,
                                                               const v1::UpdateSettingsRequest* request,
                                                               v1::UpdateSettingsResponse* response) {
  return RunOwn(calls_, context, "UpdateSettings", kScope, request,
                [=, this](AppId app, const auto& own) { return settings_.Update(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::GetSettings(grpc::CallbackServerContext* context,
                                                            const v1::GetSettingsRequest* request,
                                                            v1::GetSettingsResponse* response) {
  return RunOwn(calls_, context, "GetSettings", kScope, request,
                [=, this](AppId app, const auto& own) { return settings_.Get(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::AddMutes(grpc::CallbackServerContext* context,
                                                         const v1::AddMutesRequest* request,
                                                         v1::AddMutesResponse* response) {
  return RunOwn(calls_, context, "AddMutes", kScope, request,
                [=, this](AppId app, const auto& own) { return settings_.AddMutes(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::RemoveMutes(grpc::CallbackServerContext* context,
                                                            const v1::RemoveMutesRequest* request,
                                                            v1::RemoveMutesResponse* response) {
  return RunOwn(calls_, context, "RemoveMutes", kScope, request,
                [=, this](AppId app, const auto& own) { return settings_.RemoveMutes(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::ListMutes(grpc::CallbackServerContext* context,
                                                          const v1::ListMutesRequest* request,
                                                          v1::ListMutesResponse* response) {
  return RunOwn(calls_, context, "ListMutes", kScope, request,
                [=, this](AppId app, const auto& own) { return settings_.ListMutes(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::GetPreferenceCentre(grpc::CallbackServerContext* context,
                                                                    const v1::GetPreferenceCentreRequest* request,
                                                                    v1::GetPreferenceCentreResponse* response) {
  return RunOwn(calls_, context, "GetPreferenceCentre", kScope, request,
                [=, this](AppId app, const auto& own) { return settings_.GetCentre(app, own, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::ListSuppressions(grpc::CallbackServerContext* context,
                                                                 const v1::ListSuppressionsRequest* request,
                                                                 v1::ListSuppressionsResponse* response) {
  return RunUnary(calls_, context, "ListSuppressions", kScope,
                  [=, this](const Caller& caller) { return suppressions_.List(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::AddSuppression(grpc::CallbackServerContext* context,
                                                               const v1::AddSuppressionRequest* request,
                                                               v1::AddSuppressionResponse* response) {
  return RunUnary(calls_, context, "AddSuppression", kScope,
                  [=, this](const Caller& caller) { return suppressions_.Add(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::RemoveSuppression(grpc::CallbackServerContext* context,
                                                                  const v1::RemoveSuppressionRequest* request,
                                                                  v1::RemoveSuppressionResponse* response) {
  return RunUnary(calls_, context, "RemoveSuppression", kScope,
                  [=, this](const Caller& caller) { return suppressions_.Remove(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::Follow(grpc::CallbackServerContext* context,
                                                       const v1::FollowRequest* request, v1::FollowResponse* response) {
  return RunUnary(calls_, context, "Follow", kScope, [=, this](const Caller& caller) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Membership> follows, CheckedFollows(*request));
    ASSIGN_OR_RETURN(const int added, store_->Add(caller.app, GroupKind::kFollowers, follows));
    response->set_added(added);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::Unfollow(grpc::CallbackServerContext* context,
                                                         const v1::UnfollowRequest* request,
                                                         v1::UnfollowResponse* response) {
  return RunUnary(calls_, context, "Unfollow", kScope, [=, this](const Caller& caller) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Membership> follows, CheckedFollows(*request));
    ASSIGN_OR_RETURN(const int removed, store_->Remove(caller.app, GroupKind::kFollowers, follows));
    response->set_removed(removed);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::ListFollowers(grpc::CallbackServerContext* context,
                                                              const v1::ListFollowersRequest* request,
                                                              v1::ListFollowersResponse* response) {
  return RunUnary(calls_, context, "ListFollowers", kScope, [=, this](const Caller& caller) -> absl::Status {
    RETURN_IF_ERROR(CheckGroup("followee_id", request->followee_id()));
    const Group group{.app = caller.app, .kind = GroupKind::kFollowers, .id = request->followee_id()};
    ASSIGN_OR_RETURN(Page page, ReadPage(group, request->page_size(), request->page_token()));
    for (std::string& member : page.members) response->add_follower_ids(std::move(member));
    response->set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::AddTopicSubscriptions(grpc::CallbackServerContext* context,
                                                                      const v1::AddTopicSubscriptionsRequest* request,
                                                                      v1::AddTopicSubscriptionsResponse* response) {
  return RunUnary(calls_, context, "AddTopicSubscriptions", kScope, [=, this](const Caller& caller) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Membership> subscriptions, CheckedSubscriptions(*request));
    ASSIGN_OR_RETURN(const int added, store_->Add(caller.app, GroupKind::kTopic, subscriptions));
    response->set_added(added);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::RemoveTopicSubscriptions(
    grpc::CallbackServerContext* context, const v1::RemoveTopicSubscriptionsRequest* request,
    v1::RemoveTopicSubscriptionsResponse* response) {
  return RunUnary(calls_, context, "RemoveTopicSubscriptions", kScope, [=, this](const Caller& caller) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Membership> subscriptions, CheckedSubscriptions(*request));
    ASSIGN_OR_RETURN(const int removed, store_->Remove(caller.app, GroupKind::kTopic, subscriptions));
    response->set_removed(removed);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::ListTopicSubscribers(grpc::CallbackServerContext* context,
                                                                     const v1::ListTopicSubscribersRequest* request,
                                                                     v1::ListTopicSubscribersResponse* response) {
  return RunUnary(calls_, context, "ListTopicSubscribers", kScope, [=, this](const Caller& caller) -> absl::Status {
    RETURN_IF_ERROR(CheckGroup("topic_id", request->topic_id()));
    const Group group{.app = caller.app, .kind = GroupKind::kTopic, .id = request->topic_id()};
    ASSIGN_OR_RETURN(Page page, ReadPage(group, request->page_size(), request->page_token()));
    for (std::string& member : page.members) response->add_user_ids(std::move(member));
    response->set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecipientServiceImpl::IssueUserToken(grpc::CallbackServerContext* context,
                                                               const v1::IssueUserTokenRequest* request,
                                                               v1::IssueUserTokenResponse* response) {
  return RunUnary(calls_, context, "IssueUserToken", kScope, [=, this](const Caller& caller) -> absl::Status {
    ASSIGN_OR_RETURN(*response, carillon::IssueUserToken(tokens_, caller, *request, calls_.clock.Now()));
    return absl::OkStatus();
  });
}

absl::StatusOr<RecipientServiceImpl::Page> RecipientServiceImpl::ReadPage(const Group& group, int page_size,
                                                                          const std::string& page_token) {
  ASSIGN_OR_RETURN(const int limit, EffectivePageSize(page_size, kDefaultMembersPage, kMaxMembersPage));
  const std::string fingerprint = absl::StrCat("members/", group.app.value(), "/", ToString(group.kind), "/", group.id);
  ASSIGN_OR_RETURN(const std::string after, DecodePageToken(page_token, fingerprint));
  Violations violations;
  violations.CheckId("page_token", after, /*required=*/false);
  RETURN_IF_ERROR(violations.ToStatus());
  Page page;
  // One more than asked tells whether there is another page.
  ASSIGN_OR_RETURN(page.members, store_->List(group, after, limit + 1));
  if (page.members.size() > static_cast<size_t>(limit)) {
    page.members.resize(limit);
    page.next_page_token = EncodePageToken(page.members.back(), fingerprint);
  }
  return page;
}

}  // namespace carillon
