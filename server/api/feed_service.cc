#include "server/api/feed_service.h"

#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/feed_event.h"
#include "server/api/feed_pages.h"
#include "server/api/own_request.h"
#include "server/api/raw_message.h"
#include "server/api/record_interaction.h"
#include "server/api/subscribe_call.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "feed";
// Of methods that see to it themselves that a token reaches its own user's things only.
constexpr Access kAccess = Access::WithUsers(kScope);
// With the time of a read and of the way there and back, far below the second
// that is promised.
constexpr absl::Duration kTopicMaxAge = absl::Milliseconds(300);

// Topics' feeds are public.
template <typename Request>
absl::StatusOr<Request> OwnRequestOf(const Caller& caller, const grpc::ByteBuffer& bytes) {
  ASSIGN_OR_RETURN(Request request, FromByteBuffer<Request>(bytes));
  if constexpr (!std::is_same_v<Request, v1::ListTopicFeedRequest>) RETURN_IF_ERROR(MakeOwn(caller, request));
  return request;
}

absl::StatusOr<FeedKey> CheckedKey(AppId app, const std::string& user_id) {
  Violations violations;
  violations.CheckId("user_id", user_id, /*required=*/true);
  RETURN_IF_ERROR(violations.ToStatus());
  return FeedKey{.app = app, .recipient = RecipientId(user_id)};
}

// The ids that are well-formed; the others are violations. None where there are too many.
std::vector<NotificationId> CheckedIds(const v1::MarkReadRequest& request, Violations* violations) {
  std::vector<NotificationId> ids;
  if (request.notification_ids_size() > limits::kMaxMarkReadIds) return ids;
  for (int i = 0; i < request.notification_ids_size(); ++i) {
    const std::optional<Uuid> id = Uuid::Parse(request.notification_ids(i));
    if (id.has_value()) {
      ids.push_back(*id);
    } else {
      violations->Add(absl::StrCat("notification_ids[", i, "]"), "must be a UUID");
    }
  }
  return ids;
}

void CheckMarkRead(const v1::MarkReadRequest& request, Violations* violations) {
  violations->CheckId("user_id", request.user_id(), /*required=*/true);
  if ((request.up_to_seq() != 0) == (request.notification_ids_size() > 0)) {
    violations->Add("up_to_seq", "exactly one of up_to_seq and notification_ids must be set");
  }
  if (request.up_to_seq() < 0) violations->Add("up_to_seq", "must be at least 1");
  if (request.notification_ids_size() > limits::kMaxMarkReadIds) {
    violations->Add("notification_ids", absl::StrCat("must be at most ", limits::kMaxMarkReadIds));
  }
}

void CheckCounters(const v1::GetCountersRequest& request, Violations* violations) {
  if (request.object_ids_size() < 1 || request.object_ids_size() > limits::kMaxCounterObjects) {
    violations->Add("object_ids", absl::StrCat("must be 1 to ", limits::kMaxCounterObjects));
    return;
  }
  for (int i = 0; i < request.object_ids_size(); ++i) {
    violations->CheckId(absl::StrCat("object_ids[", i, "]"), request.object_ids(i), /*required=*/true);
  }
}

}  // namespace

FeedServiceImpl::FeedServiceImpl(ServerCalls& calls, Parts parts, Metrics& metrics)
    : calls_(calls),
      store_(std::move(parts.store)),
      reactions_(std::move(parts.reactions)),
      interactions_(std::move(parts.interactions)),
      hub_(parts.hub),
      publisher_(parts.publisher),
      recipient_reads_("recipient", {}, calls.executor, calls.clock, metrics),
      topic_reads_("topic", {.max_age = kTopicMaxAge}, calls.executor, calls.clock, metrics) {}

grpc::ServerWriteReactor<grpc::ByteBuffer>* FeedServiceImpl::Subscribe(grpc::CallbackServerContext* context,
                                                                       const grpc::ByteBuffer* request) {
  return SubscribeCall::Start(
      calls_, hub_, context, "Subscribe",
      [request = FromByteBuffer<v1::SubscribeRequest>(*request)](const Caller& caller) -> absl::StatusOr<StreamPlace> {
        RETURN_IF_ERROR(request.status());
        return PlaceInFeed(caller, *request);
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* FeedServiceImpl::SubscribeTopic(grpc::CallbackServerContext* context,
                                                                            const grpc::ByteBuffer* request) {
  return SubscribeCall::Start(
      calls_, hub_, context, "SubscribeTopic",
      [request = FromByteBuffer<v1::SubscribeTopicRequest>(*request)](const Caller&) -> absl::StatusOr<StreamPlace> {
        RETURN_IF_ERROR(request.status());
        return PlaceInTopicFeed(*request);
      });
}

grpc::ServerUnaryReactor* FeedServiceImpl::ListFeed(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return Share<v1::ListFeedRequest, ReadFeedPage>(recipient_reads_, context, "ListFeed", request, response);
}

grpc::ServerUnaryReactor* FeedServiceImpl::ListTopicFeed(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return Share<v1::ListTopicFeedRequest, ReadTopicPage>(topic_reads_, context, "ListTopicFeed", request, response);
}

// Unlike RunUnary it takes no thread: that is for the read, if there has to be one.
template <typename Request, auto read>
grpc::ServerUnaryReactor* FeedServiceImpl::Share(SharedReads& reads, grpc::CallbackServerContext* context,
                                                 absl::string_view method, const grpc::ByteBuffer* request,
                                                 grpc::ByteBuffer* response) {
  auto call = std::make_shared<UnaryCall>(calls_, context, method);
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  calls_.authenticator.Authenticate(*context, kAccess, [=, this, &reads](absl::StatusOr<Caller> caller) {
    if (!caller.ok()) return call->Finish(caller.status());
    const absl::StatusOr<Request> parsed = OwnRequestOf<Request>(*caller, *request);
    if (!parsed.ok()) return call->Finish(parsed.status());
    const absl::StatusOr<FeedPage> page = PageOf(caller->app, *parsed);
    if (!page.ok()) return call->Finish(page.status());
    reads.Ask(IdentityOf(*page), [store = store_, page = *page] { return read(*store, page); },
              {.is_gone = [this, call] { return call->is_cancelled() || call->deadline() < calls_.clock.Now(); },
               .done =
                   [call, response](const absl::StatusOr<SharedBytes>& answer) {
                     if (answer.ok()) *response = ToByteBuffer(*answer);
                     call->Finish(answer.status());
                   }});
  });
  return reactor;
}

grpc::ServerUnaryReactor* FeedServiceImpl::GetFeedSummary(grpc::CallbackServerContext* context,
                                                          const v1::GetFeedSummaryRequest* request,
                                                          v1::GetFeedSummaryResponse* response) {
  return RunOwn(calls_, context, "GetFeedSummary", kScope, request,
                [=, this](AppId app, const auto& own) { return Summarize(app, own, response); });
}

grpc::ServerUnaryReactor* FeedServiceImpl::MarkRead(grpc::CallbackServerContext* context,
                                                    const v1::MarkReadRequest* request,
                                                    v1::MarkReadResponse* response) {
  return RunOwn(calls_, context, "MarkRead", kScope, request,
                [=, this](AppId app, const auto& own) { return Mark(app, own, response); });
}

grpc::ServerUnaryReactor* FeedServiceImpl::RecordInteraction(grpc::CallbackServerContext* context,
                                                             const v1::RecordInteractionRequest* request,
                                                             v1::RecordInteractionResponse* response) {
  return RunOwn(calls_, context, "RecordInteraction", kScope, request,
                [=, this](AppId app, const auto& own) -> absl::Status {
                  ASSIGN_OR_RETURN(*response, carillon::RecordInteraction(*interactions_, own, app));
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* FeedServiceImpl::GetCounters(grpc::CallbackServerContext* context,
                                                       const v1::GetCountersRequest* request,
                                                       v1::GetCountersResponse* response) {
  return RunUnary(calls_, context, "GetCounters", kAccess,
                  [=, this](const Caller& caller) { return Count(caller.app, *request, response); });
}

absl::Status FeedServiceImpl::Summarize(AppId app, const v1::GetFeedSummaryRequest& request,
                                        v1::GetFeedSummaryResponse* response) {
  ASSIGN_OR_RETURN(const FeedKey key, CheckedKey(app, request.user_id()));
  ASSIGN_OR_RETURN(const FeedHead head, store_->Summarize(key));
  response->set_unread(head.unread);
  response->set_last_seq(head.last_seq);
  response->set_last_read_seq(head.last_read_seq);
  response->set_floor_seq(head.floor_seq);
  return absl::OkStatus();
}

absl::Status FeedServiceImpl::Mark(AppId app, const v1::MarkReadRequest& request, v1::MarkReadResponse* response) {
  Violations violations;
  CheckMarkRead(request, &violations);
  const std::vector<NotificationId> ids = CheckedIds(request, &violations);
  RETURN_IF_ERROR(violations.ToStatus());
  const FeedKey key{.app = app, .recipient = RecipientId(request.user_id())};
  ASSIGN_OR_RETURN(const MarkReadResult result,
                   ids.empty() ? store_->MarkReadUpTo(key, request.up_to_seq()) : store_->MarkReadItems(key, ids));
  if (result.marker.has_value()) Announce(key, *result.marker);
  response->set_unread(result.head.unread);
  response->set_seq(result.marker.has_value() ? result.marker->seq : result.head.last_seq);
  return absl::OkStatus();
}

absl::Status FeedServiceImpl::Count(AppId app, const v1::GetCountersRequest& request,
                                    v1::GetCountersResponse* response) {
  Violations violations;
  CheckCounters(request, &violations);
  RETURN_IF_ERROR(violations.ToStatus());
  const std::vector<std::string> object_ids(request.object_ids().begin(), request.object_ids().end());
  ASSIGN_OR_RETURN(const std::vector<ReactionCounter> counters, reactions_->Counters(app, object_ids));
  for (const ReactionCounter& counter : counters) {
    v1::Counter* const out = response->add_counters();
    out->set_object_id(counter.object_id);
    out->set_kind(counter.kind);
    out->set_count(counter.count);
  }
  return absl::OkStatus();
}

void FeedServiceImpl::Announce(const FeedKey& key, const ReadMarker& marker) {
  const LiveMessage message{.key = key, .payload = EncodeLiveUpdate(marker)};
  hub_.OnLiveMessage(message);
  const absl::Status published = publisher_.Publish({key}, [&](size_t) { return message.payload; });
  if (!published.ok()) log::Debug("live.publish_failed", {{"error", published}});
}

}  // namespace carillon
