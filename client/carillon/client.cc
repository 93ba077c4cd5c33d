#include "client/carillon/client.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/synchronization/notification.h"
#include "client/carillon/client_core.h"
#include "client/carillon/unary_call.h"

namespace carillon {
namespace {

using NotificationMethods = v1::NotificationService::StubInterface::async_interface;
using FeedMethods = v1::FeedService::StubInterface::async_interface;
using RecipientMethods = v1::RecipientService::StubInterface::async_interface;
using CatalogMethods = v1::CatalogService::StubInterface::async_interface;
using AdminMethods = v1::AdminService::StubInterface::async_interface;

// A method of a generated asynchronous stub, in the form that takes a callback.
template <typename Methods, typename Request, typename Response>
using StubMethod = void (Methods::*)(grpc::ClientContext*, const Request*, Response*,
                                     std::function<void(grpc::Status)>);

// Whether a repeat of the call is harmless.
constexpr bool kRepeatable = true;
constexpr bool kOnce = false;

// What is kept about a person is looked for everywhere, and dead letters may be many:
// servers take up to a minute.
constexpr absl::Duration kPersonDeadline = absl::Seconds(60);
// Servers decide for up to 10 000 recipients.
constexpr absl::Duration kDryRunDeadline = absl::Seconds(15);

bool IsRepeatable(const v1::SendNotificationRequest& request) { return !request.idempotency_key().empty(); }

bool IsRepeatable(const v1::BatchSendNotificationsRequest& batch) {
  for (const v1::SendNotificationRequest& request : batch.requests()) {
    if (!IsRepeatable(request)) return false;
  }
  return true;
}

bool IsRepeatable(const v1::PublishEventRequest& request) { return !request.idempotency_key().empty(); }

template <typename Methods, typename Request, typename Response>
void Begin(ClientCore& core, Methods* stub, StubMethod<Methods, Request, Response> method, Request request,
           bool repeatable, typename UnaryCall<Request, Response>::Done done,
           absl::Duration least_deadline = absl::ZeroDuration()) {
  const auto attempt = [stub, method](grpc::ClientContext* context, const Request* message, Response* response,
                                      std::function<void(grpc::Status)> on_answer) {
    (stub->*method)(context, message, response, std::move(on_answer));
  };
  UnaryCall<Request, Response>::Start(core, attempt, std::move(request), repeatable,
                                      std::max(core.options.deadline, least_deadline), std::move(done));
}

template <typename Methods, typename Request, typename Response>
absl::StatusOr<Response> Call(ClientCore& core, Methods* stub, StubMethod<Methods, Request, Response> method,
                              const Request& request, bool repeatable,
                              absl::Duration least_deadline = absl::ZeroDuration()) {
  absl::StatusOr<Response> answer;
  absl::Notification answered;
  const auto done = [&](absl::StatusOr<Response> result) {
    answer = std::move(result);
    answered.Notify();
  };
  Begin<Methods, Request, Response>(core, stub, method, request, repeatable, done, least_deadline);
  answered.WaitForNotification();
  return answer;
}

}  // namespace

Client::Client(ClientOptions options) : core_(std::make_unique<ClientCore>(std::move(options))) {}

Client::~Client() = default;

absl::StatusOr<v1::SendNotificationResponse> Client::SendNotification(const v1::SendNotificationRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::SendNotification, request, IsRepeatable(request));
}

void Client::SendNotificationAsync(v1::SendNotificationRequest request, Callback<v1::SendNotificationResponse> done) {
  NotificationMethods* stub = core_->notifications->async();
  const bool repeatable = IsRepeatable(request);
  Begin(*core_, stub, &NotificationMethods::SendNotification, std::move(request), repeatable, std::move(done));
}

absl::StatusOr<v1::BatchSendNotificationsResponse> Client::BatchSendNotifications(
    const v1::BatchSendNotificationsRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::BatchSendNotifications, request, IsRepeatable(request));
}

void Client::BatchSendNotificationsAsync(v1::BatchSendNotificationsRequest request,
                                         Callback<v1::BatchSendNotificationsResponse> done) {
  NotificationMethods* stub = core_->notifications->async();
  const bool repeatable = IsRepeatable(request);
  Begin(*core_, stub, &NotificationMethods::BatchSendNotifications, std::move(request), repeatable, std::move(done));
}

absl::StatusOr<v1::GetNotificationResponse> Client::GetNotification(const v1::GetNotificationRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::GetNotification, request, kRepeatable);
}

absl::StatusOr<v1::ListNotificationsResponse> Client::ListNotifications(const v1::ListNotificationsRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::ListNotifications, request, kRepeatable);
}

absl::StatusOr<v1::ExplainNotificationResponse> Client::ExplainNotification(
    const v1::ExplainNotificationRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::ExplainNotification, request, kRepeatable);
}

absl::StatusOr<v1::DryRunResponse> Client::DryRun(const v1::DryRunRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::DryRun, request, kRepeatable, kDryRunDeadline);
}

absl::StatusOr<v1::CancelNotificationResponse> Client::CancelNotification(
    const v1::CancelNotificationRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::CancelNotification, request, kRepeatable);
}

absl::StatusOr<v1::PublishEventResponse> Client::PublishEvent(const v1::PublishEventRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::PublishEvent, request, IsRepeatable(request));
}

absl::StatusOr<v1::GetEventResponse> Client::GetEvent(const v1::GetEventRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::GetEvent, request, kRepeatable);
}

absl::StatusOr<v1::PauseEventResponse> Client::PauseEvent(const v1::PauseEventRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::PauseEvent, request, kRepeatable);
}

absl::StatusOr<v1::ResumeEventResponse> Client::ResumeEvent(const v1::ResumeEventRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::ResumeEvent, request, kRepeatable);
}

absl::StatusOr<v1::CancelEventResponse> Client::CancelEvent(const v1::CancelEventRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::CancelEvent, request, kRepeatable);
}

absl::StatusOr<v1::RecordReactionsResponse> Client::RecordReactions(const v1::RecordReactionsRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::RecordReactions, request, kRepeatable);
}

absl::StatusOr<v1::RecordReceiptsResponse> Client::RecordReceipts(const v1::RecordReceiptsRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::RecordReceipts, request, kRepeatable);
}

absl::StatusOr<v1::CreateRecurrenceResponse> Client::CreateRecurrence(const v1::CreateRecurrenceRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::CreateRecurrence, request, kOnce);
}

absl::StatusOr<v1::ListRecurrencesResponse> Client::ListRecurrences(const v1::ListRecurrencesRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::ListRecurrences, request, kRepeatable);
}

absl::StatusOr<v1::DeleteRecurrenceResponse> Client::DeleteRecurrence(const v1::DeleteRecurrenceRequest& request) {
  NotificationMethods* stub = core_->notifications->async();
  return Call(*core_, stub, &NotificationMethods::DeleteRecurrence, request, kRepeatable);
}

absl::StatusOr<v1::ListFeedResponse> Client::ListFeed(const v1::ListFeedRequest& request) {
  FeedMethods* stub = core_->feed->async();
  return Call(*core_, stub, &FeedMethods::ListFeed, request, kRepeatable);
}

absl::StatusOr<v1::GetFeedSummaryResponse> Client::GetFeedSummary(const v1::GetFeedSummaryRequest& request) {
  FeedMethods* stub = core_->feed->async();
  return Call(*core_, stub, &FeedMethods::GetFeedSummary, request, kRepeatable);
}

absl::StatusOr<v1::MarkReadResponse> Client::MarkRead(const v1::MarkReadRequest& request) {
  FeedMethods* stub = core_->feed->async();
  return Call(*core_, stub, &FeedMethods::MarkRead, request, kRepeatable);
}

absl::StatusOr<v1::RecordInteractionResponse> Client::RecordInteraction(const v1::RecordInteractionRequest& request) {
  FeedMethods* stub = core_->feed->async();
  return Call(*core_, stub, &FeedMethods::RecordInteraction, request, kRepeatable);
}

absl::StatusOr<v1::ListTopicFeedResponse> Client::ListTopicFeed(const v1::ListTopicFeedRequest& request) {
  FeedMethods* stub = core_->feed->async();
  return Call(*core_, stub, &FeedMethods::ListTopicFeed, request, kRepeatable);
}

absl::StatusOr<v1::GetCountersResponse> Client::GetCounters(const v1::GetCountersRequest& request) {
  FeedMethods* stub = core_->feed->async();
  return Call(*core_, stub, &FeedMethods::GetCounters, request, kRepeatable);
}

std::unique_ptr<FeedSubscription> Client::Subscribe(FeedSubscription::Options options,
                                                    FeedSubscription::Callbacks callbacks) {
  return std::make_unique<FeedSubscription>(*core_, std::move(options), std::move(callbacks));
}

absl::StatusOr<v1::UpdateRecipientResponse> Client::UpdateRecipient(const v1::UpdateRecipientRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::UpdateRecipient, request, kRepeatable);
}

absl::StatusOr<v1::GetRecipientResponse> Client::GetRecipient(const v1::GetRecipientRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::GetRecipient, request, kRepeatable);
}

absl::StatusOr<v1::RegisterDeviceResponse> Client::RegisterDevice(const v1::RegisterDeviceRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::RegisterDevice, request, kRepeatable);
}

absl::StatusOr<v1::RemoveDeviceResponse> Client::RemoveDevice(const v1::RemoveDeviceRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::RemoveDevice, request, kRepeatable);
}

absl::StatusOr<v1::ExportRecipientResponse> Client::ExportRecipient(const v1::ExportRecipientRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::ExportRecipient, request, kRepeatable, kPersonDeadline);
}

absl::StatusOr<v1::EraseRecipientResponse> Client::EraseRecipient(const v1::EraseRecipientRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::EraseRecipient, request, kRepeatable, kPersonDeadline);
}

absl::StatusOr<v1::UpdateSettingsResponse> Client::UpdateSettings(const v1::UpdateSettingsRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::UpdateSettings, request, kRepeatable);
}

absl::StatusOr<v1::GetSettingsResponse> Client::GetSettings(const v1::GetSettingsRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::GetSettings, request, kRepeatable);
}

absl::StatusOr<v1::AddMutesResponse> Client::AddMutes(const v1::AddMutesRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::AddMutes, request, kRepeatable);
}

absl::StatusOr<v1::RemoveMutesResponse> Client::RemoveMutes(const v1::RemoveMutesRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::RemoveMutes, request, kRepeatable);
}

absl::StatusOr<v1::ListMutesResponse> Client::ListMutes(const v1::ListMutesRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::ListMutes, request, kRepeatable);
}

absl::StatusOr<v1::GetPreferenceCentreResponse> Client::GetPreferenceCentre(
    const v1::GetPreferenceCentreRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::GetPreferenceCentre, request, kRepeatable);
}

absl::StatusOr<v1::IssueUserTokenResponse> Client::IssueUserToken(const v1::IssueUserTokenRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::IssueUserToken, request, kRepeatable);
}

absl::StatusOr<v1::ListSuppressionsResponse> Client::ListSuppressions(const v1::ListSuppressionsRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::ListSuppressions, request, kRepeatable);
}

absl::StatusOr<v1::AddSuppressionResponse> Client::AddSuppression(const v1::AddSuppressionRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::AddSuppression, request, kRepeatable);
}

absl::StatusOr<v1::RemoveSuppressionResponse> Client::RemoveSuppression(const v1::RemoveSuppressionRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::RemoveSuppression, request, kRepeatable);
}

absl::StatusOr<v1::FollowResponse> Client::Follow(const v1::FollowRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::Follow, request, kRepeatable);
}

absl::StatusOr<v1::UnfollowResponse> Client::Unfollow(const v1::UnfollowRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::Unfollow, request, kRepeatable);
}

absl::StatusOr<v1::ListFollowersResponse> Client::ListFollowers(const v1::ListFollowersRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::ListFollowers, request, kRepeatable);
}

absl::StatusOr<v1::AddTopicSubscriptionsResponse> Client::AddTopicSubscriptions(
    const v1::AddTopicSubscriptionsRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::AddTopicSubscriptions, request, kRepeatable);
}

absl::StatusOr<v1::RemoveTopicSubscriptionsResponse> Client::RemoveTopicSubscriptions(
    const v1::RemoveTopicSubscriptionsRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::RemoveTopicSubscriptions, request, kRepeatable);
}

absl::StatusOr<v1::ListTopicSubscribersResponse> Client::ListTopicSubscribers(
    const v1::ListTopicSubscribersRequest& request) {
  RecipientMethods* stub = core_->recipients->async();
  return Call(*core_, stub, &RecipientMethods::ListTopicSubscribers, request, kRepeatable);
}

absl::StatusOr<v1::ApplyTypesResponse> Client::ApplyTypes(const v1::ApplyTypesRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::ApplyTypes, request, kOnce);
}

absl::StatusOr<v1::ListTypesResponse> Client::ListTypes(const v1::ListTypesRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::ListTypes, request, kRepeatable);
}

absl::StatusOr<v1::SetAppPreferencesResponse> Client::SetAppPreferences(const v1::SetAppPreferencesRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::SetAppPreferences, request, kRepeatable);
}

absl::StatusOr<v1::GetAppPreferencesResponse> Client::GetAppPreferences(const v1::GetAppPreferencesRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::GetAppPreferences, request, kRepeatable);
}

absl::StatusOr<v1::ApplyTemplatesResponse> Client::ApplyTemplates(const v1::ApplyTemplatesRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::ApplyTemplates, request, kRepeatable);
}

absl::StatusOr<v1::ActivateTemplateResponse> Client::ActivateTemplate(const v1::ActivateTemplateRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::ActivateTemplate, request, kRepeatable);
}

absl::StatusOr<v1::ListTemplatesResponse> Client::ListTemplates(const v1::ListTemplatesRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::ListTemplates, request, kRepeatable);
}

absl::StatusOr<v1::PreviewTemplateResponse> Client::PreviewTemplate(const v1::PreviewTemplateRequest& request) {
  CatalogMethods* stub = core_->catalog->async();
  return Call(*core_, stub, &CatalogMethods::PreviewTemplate, request, kRepeatable);
}

absl::StatusOr<v1::CreateAppResponse> Client::CreateApp(const v1::CreateAppRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::CreateApp, request, kOnce);
}

absl::StatusOr<v1::RotateAppSecretResponse> Client::RotateAppSecret(const v1::RotateAppSecretRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::RotateAppSecret, request, kOnce);
}

absl::StatusOr<v1::UpdateAppResponse> Client::UpdateApp(const v1::UpdateAppRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::UpdateApp, request, kRepeatable);
}

absl::StatusOr<v1::ListTrippedSendersResponse> Client::ListTrippedSenders(
    const v1::ListTrippedSendersRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::ListTrippedSenders, request, kRepeatable);
}

absl::StatusOr<v1::LiftTrippedSenderResponse> Client::LiftTrippedSender(const v1::LiftTrippedSenderRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::LiftTrippedSender, request, kRepeatable);
}

absl::StatusOr<v1::AdvanceClockResponse> Client::AdvanceClock(const v1::AdvanceClockRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::AdvanceClock, request, kOnce);
}

absl::StatusOr<v1::ListQueuesResponse> Client::ListQueues(const v1::ListQueuesRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::ListQueues, request, kRepeatable);
}

absl::StatusOr<v1::ListDeadLettersResponse> Client::ListDeadLetters(const v1::ListDeadLettersRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::ListDeadLetters, request, kRepeatable, kPersonDeadline);
}

absl::StatusOr<v1::SummarizeDeadLettersResponse> Client::SummarizeDeadLetters(
    const v1::SummarizeDeadLettersRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::SummarizeDeadLetters, request, kRepeatable, kPersonDeadline);
}

absl::StatusOr<v1::GetDeadLetterResponse> Client::GetDeadLetter(const v1::GetDeadLetterRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::GetDeadLetter, request, kRepeatable);
}

absl::StatusOr<v1::PurgeDeadLettersResponse> Client::PurgeDeadLetters(const v1::PurgeDeadLettersRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::PurgeDeadLetters, request, kOnce, kPersonDeadline);
}

absl::StatusOr<v1::ListReplaysResponse> Client::ListReplays(const v1::ListReplaysRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::ListReplays, request, kRepeatable);
}

absl::StatusOr<v1::SetProvidersResponse> Client::SetProviders(const v1::SetProvidersRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::SetProviders, request, kRepeatable);
}

absl::StatusOr<v1::ListProvidersResponse> Client::ListProviders(const v1::ListProvidersRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::ListProviders, request, kRepeatable);
}

absl::StatusOr<v1::GetStatsResponse> Client::GetStats(const v1::GetStatsRequest& request) {
  AdminMethods* stub = core_->admin->async();
  return Call(*core_, stub, &AdminMethods::GetStats, request, kRepeatable);
}

}  // namespace carillon
