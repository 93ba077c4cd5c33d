// The client of Carillon for C++.
//
//   carillon::Client client({.address = "127.0.0.1:7400", .app_key = key, .app_secret = secret});
//   carillon::v1::SendNotificationRequest request;
//   request.set_type("like");
//   request.set_user_id("alice");
//   request.set_idempotency_key("like-17-by-bob");
//   absl::StatusOr<carillon::v1::SendNotificationResponse> sent = client.SendNotification(request);
//
// Every call has a deadline. What failed with UNAVAILABLE, or with
// RESOURCE_EXHAUSTED and a delay to wait, is repeated with exponential backoff
// and jitter, within a bounded number of attempts and a bounded time, but only
// where a repeat can't do a thing twice: reads, tokens, MarkRead, contacts, devices, erasures,
// settings, mutes, app preferences, suppressions, follows, subscriptions,
// reactions, templates, receipts, interactions, cancellations, what steers an event, and sends and events that
// carry an idempotency_key (a batch: every one of it).
#pragma once

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "carillon/v1/admin_service.pb.h"
#include "carillon/v1/catalog_service.pb.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/v1/notification_service.pb.h"
#include "carillon/v1/recipient_service.pb.h"
#include "client/carillon/feed_subscription.h"
#include "client/carillon/options.h"

namespace carillon {

class CallCanceller;
class ClientCore;

// Thread-safe. Connects by itself with the first call. Calls without a callback
// block for at most RetryOptions::total_time (ExportRecipient, EraseRecipient: or one
// minute); never make them in a callback.
class Client {
 public:
  explicit Client(ClientOptions options);
  // Stop every subscription first. Waits for asynchronous calls to end.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Called once, on a thread of the library; must not block and must not
  // destroy the client.
  template <typename Response>
  using Callback = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

  // --- NotificationService. Scope: send.
  absl::StatusOr<v1::SendNotificationResponse> SendNotification(const v1::SendNotificationRequest& request);
  void SendNotificationAsync(v1::SendNotificationRequest request, Callback<v1::SendNotificationResponse> done);
  absl::StatusOr<v1::BatchSendNotificationsResponse> BatchSendNotifications(
      const v1::BatchSendNotificationsRequest& request);
  void BatchSendNotificationsAsync(v1::BatchSendNotificationsRequest request,
                                   Callback<v1::BatchSendNotificationsResponse> done);
  absl::StatusOr<v1::GetNotificationResponse> GetNotification(const v1::GetNotificationRequest& request);
  // Tells of it at once and whenever it has changed, until it has ended (OK) or
  // `on_change` returns false. Blocks so long, and comes back by itself after a loss;
  // called on the caller's thread, the same state may be told twice.
  absl::Status WatchNotification(const v1::WatchNotificationRequest& request,
                                 absl::FunctionRef<bool(const v1::Notification&)> on_change);
  absl::StatusOr<v1::ListNotificationsResponse> ListNotifications(const v1::ListNotificationsRequest& request);
  absl::StatusOr<v1::ExplainNotificationResponse> ExplainNotification(const v1::ExplainNotificationRequest& request);
  // Of a large audience it takes seconds.
  absl::StatusOr<v1::DryRunResponse> DryRun(const v1::DryRunRequest& request);
  absl::StatusOr<v1::CancelNotificationResponse> CancelNotification(const v1::CancelNotificationRequest& request);
  absl::StatusOr<v1::PublishEventResponse> PublishEvent(const v1::PublishEventRequest& request);
  absl::StatusOr<v1::GetEventResponse> GetEvent(const v1::GetEventRequest& request);
  absl::StatusOr<v1::PauseEventResponse> PauseEvent(const v1::PauseEventRequest& request);
  absl::StatusOr<v1::ResumeEventResponse> ResumeEvent(const v1::ResumeEventRequest& request);
  absl::StatusOr<v1::CancelEventResponse> CancelEvent(const v1::CancelEventRequest& request);
  absl::StatusOr<v1::RecordReactionsResponse> RecordReactions(const v1::RecordReactionsRequest& request);
  absl::StatusOr<v1::RecordReceiptsResponse> RecordReceipts(const v1::RecordReceiptsRequest& request);
  // Not repeated: each creates another one.
  absl::StatusOr<v1::CreateRecurrenceResponse> CreateRecurrence(const v1::CreateRecurrenceRequest& request);
  absl::StatusOr<v1::ListRecurrencesResponse> ListRecurrences(const v1::ListRecurrencesRequest& request);
  absl::StatusOr<v1::DeleteRecurrenceResponse> DeleteRecurrence(const v1::DeleteRecurrenceRequest& request);

  // --- FeedService. Scope: feed.
  absl::StatusOr<v1::ListFeedResponse> ListFeed(const v1::ListFeedRequest& request);
  absl::StatusOr<v1::GetFeedSummaryResponse> GetFeedSummary(const v1::GetFeedSummaryRequest& request);
  absl::StatusOr<v1::MarkReadResponse> MarkRead(const v1::MarkReadRequest& request);
  absl::StatusOr<v1::RecordInteractionResponse> RecordInteraction(const v1::RecordInteractionRequest& request);
  absl::StatusOr<v1::ListTopicFeedResponse> ListTopicFeed(const v1::ListTopicFeedRequest& request);
  absl::StatusOr<v1::GetCountersResponse> GetCounters(const v1::GetCountersRequest& request);
  // Follows a feed until the subscription is stopped or destroyed. Does not block.
  std::unique_ptr<FeedSubscription> Subscribe(FeedSubscription::Options options, FeedSubscription::Callbacks callbacks);

  // --- RecipientService. Scope: feed.
  absl::StatusOr<v1::UpdateRecipientResponse> UpdateRecipient(const v1::UpdateRecipientRequest& request);
  absl::StatusOr<v1::GetRecipientResponse> GetRecipient(const v1::GetRecipientRequest& request);
  absl::StatusOr<v1::RegisterDeviceResponse> RegisterDevice(const v1::RegisterDeviceRequest& request);
  absl::StatusOr<v1::RemoveDeviceResponse> RemoveDevice(const v1::RemoveDeviceRequest& request);
  absl::StatusOr<v1::ExportRecipientResponse> ExportRecipient(const v1::ExportRecipientRequest& request);
  // May take a minute. DEADLINE_EXCEEDED: not all is erased yet; the next call goes on.
  absl::StatusOr<v1::EraseRecipientResponse> EraseRecipient(const v1::EraseRecipientRequest& request);
  absl::StatusOr<v1::UpdateSettingsResponse> UpdateSettings(const v1::UpdateSettingsRequest& request);
  absl::StatusOr<v1::GetSettingsResponse> GetSettings(const v1::GetSettingsRequest& request);
  absl::StatusOr<v1::AddMutesResponse> AddMutes(const v1::AddMutesRequest& request);
  absl::StatusOr<v1::RemoveMutesResponse> RemoveMutes(const v1::RemoveMutesRequest& request);
  absl::StatusOr<v1::ListMutesResponse> ListMutes(const v1::ListMutesRequest& request);
  absl::StatusOr<v1::GetPreferenceCentreResponse> GetPreferenceCentre(const v1::GetPreferenceCentreRequest& request);
  absl::StatusOr<v1::IssueUserTokenResponse> IssueUserToken(const v1::IssueUserTokenRequest& request);
  absl::StatusOr<v1::ListSuppressionsResponse> ListSuppressions(const v1::ListSuppressionsRequest& request);
  absl::StatusOr<v1::AddSuppressionResponse> AddSuppression(const v1::AddSuppressionRequest& request);
  absl::StatusOr<v1::RemoveSuppressionResponse> RemoveSuppression(const v1::RemoveSuppressionRequest& request);
  absl::StatusOr<v1::FollowResponse> Follow(const v1::FollowRequest& request);
  absl::StatusOr<v1::UnfollowResponse> Unfollow(const v1::UnfollowRequest& request);
  absl::StatusOr<v1::ListFollowersResponse> ListFollowers(const v1::ListFollowersRequest& request);
  absl::StatusOr<v1::AddTopicSubscriptionsResponse> AddTopicSubscriptions(
      const v1::AddTopicSubscriptionsRequest& request);
  absl::StatusOr<v1::RemoveTopicSubscriptionsResponse> RemoveTopicSubscriptions(
      const v1::RemoveTopicSubscriptionsRequest& request);
  absl::StatusOr<v1::ListTopicSubscribersResponse> ListTopicSubscribers(const v1::ListTopicSubscribersRequest& request);

  // --- CatalogService. Scope: catalog.
  absl::StatusOr<v1::ApplyTypesResponse> ApplyTypes(const v1::ApplyTypesRequest& request);
  absl::StatusOr<v1::ListTypesResponse> ListTypes(const v1::ListTypesRequest& request);
  absl::StatusOr<v1::SetAppPreferencesResponse> SetAppPreferences(const v1::SetAppPreferencesRequest& request);
  absl::StatusOr<v1::GetAppPreferencesResponse> GetAppPreferences(const v1::GetAppPreferencesRequest& request);
  absl::StatusOr<v1::ApplyTemplatesResponse> ApplyTemplates(const v1::ApplyTemplatesRequest& request);
  absl::StatusOr<v1::ActivateTemplateResponse> ActivateTemplate(const v1::ActivateTemplateRequest& request);
  absl::StatusOr<v1::ListTemplatesResponse> ListTemplates(const v1::ListTemplatesRequest& request);
  absl::StatusOr<v1::PreviewTemplateResponse> PreviewTemplate(const v1::PreviewTemplateRequest& request);

  // --- AdminService. Scope: admin.
  absl::StatusOr<v1::CreateAppResponse> CreateApp(const v1::CreateAppRequest& request);
  absl::StatusOr<v1::RotateAppSecretResponse> RotateAppSecret(const v1::RotateAppSecretRequest& request);
  absl::StatusOr<v1::UpdateAppResponse> UpdateApp(const v1::UpdateAppRequest& request);
  absl::StatusOr<v1::ListTrippedSendersResponse> ListTrippedSenders(const v1::ListTrippedSendersRequest& request);
  absl::StatusOr<v1::LiftTrippedSenderResponse> LiftTrippedSender(const v1::LiftTrippedSenderRequest& request);
  // Never repeated: each call moves it.
  absl::StatusOr<v1::AdvanceClockResponse> AdvanceClock(const v1::AdvanceClockRequest& request);
  absl::StatusOr<v1::ListQueuesResponse> ListQueues(const v1::ListQueuesRequest& request);
  absl::StatusOr<v1::ListDeadLettersResponse> ListDeadLetters(const v1::ListDeadLettersRequest& request);
  absl::StatusOr<v1::SummarizeDeadLettersResponse> SummarizeDeadLetters(const v1::SummarizeDeadLettersRequest& request);
  absl::StatusOr<v1::GetDeadLetterResponse> GetDeadLetter(const v1::GetDeadLetterRequest& request);
  // Tells how far it is until it has ended (OK), or it is interrupted (OK): `on_progress`
  // returns false, or, also while nothing is heard, the canceller cancels. Blocks so long;
  // called on the caller's thread. Never repeated: to go on is a call of its own.
  absl::Status ReplayDeadLetters(const v1::ReplayDeadLettersRequest& request,
                                 absl::FunctionRef<bool(const v1::ReplayDeadLettersResponse&)> on_progress,
                                 CallCanceller* canceller = nullptr);
  // May take a minute. DEADLINE_EXCEEDED: some are left; the next call goes on.
  absl::StatusOr<v1::PurgeDeadLettersResponse> PurgeDeadLetters(const v1::PurgeDeadLettersRequest& request);
  absl::StatusOr<v1::ListReplaysResponse> ListReplays(const v1::ListReplaysRequest& request);
  absl::StatusOr<v1::SetProvidersResponse> SetProviders(const v1::SetProvidersRequest& request);
  absl::StatusOr<v1::ListProvidersResponse> ListProviders(const v1::ListProvidersRequest& request);
  absl::StatusOr<v1::GetStatsResponse> GetStats(const v1::GetStatsRequest& request);

 private:
  const std::unique_ptr<ClientCore> core_;
};

}  // namespace carillon
