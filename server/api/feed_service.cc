#include "server/api/feed_service.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/feed_event.h"
#include "server/api/page_token.h"
#include "server/api/subscribe_call.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "feed";

absl::StatusOr<FeedKey> CheckedKey(AppId app, const std::string& user_id) {
  Violations violations;
  violations.CheckId("user_id", user_id, /*required=*/true);
  RETURN_IF_ERROR(violations.ToStatus());
  return FeedKey{.app = app, .recipient = RecipientId(user_id)};
}

absl::StatusOr<std::optional<int64_t>> PagePosition(const std::string& token, const std::string& fingerprint) {
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(token, fingerprint));
  int64_t before_seq = 0;
  if (position.empty()) return std::nullopt;
  if (!absl::SimpleAtoi(position, &before_seq))
    return error::InvalidField("page_token", "must be from a page of feeds");
  return before_seq;
}

// The ids that are well-formed; the others are violations.
std::vector<NotificationId> CheckedIds(const v1::MarkReadRequest& request, Violations* violations) {
  std::vector<NotificationId> ids;
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

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* FeedServiceImpl::Subscribe(grpc::CallbackServerContext* context,
                                                                       const grpc::ByteBuffer* request) {
  return SubscribeCall::Start(calls_, hub_, context, *request);
}

grpc::ServerUnaryReactor* FeedServiceImpl::ListFeed(grpc::CallbackServerContext* context,
                                                    const v1::ListFeedRequest* request,
                                                    v1::ListFeedResponse* response) {
  return RunUnary(calls_, context, "ListFeed", kScope,
                  [=, this](const Caller& caller) { return List(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* FeedServiceImpl::GetFeedSummary(grpc::CallbackServerContext* context,
                                                          const v1::GetFeedSummaryRequest* request,
                                                          v1::GetFeedSummaryResponse* response) {
  return RunUnary(calls_, context, "GetFeedSummary", kScope,
                  [=, this](const Caller& caller) { return Summarize(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* FeedServiceImpl::MarkRead(grpc::CallbackServerContext* context,
                                                    const v1::MarkReadRequest* request,
                                                    v1::MarkReadResponse* response) {
  return RunUnary(calls_, context, "MarkRead", kScope,
                  [=, this](const Caller& caller) { return Mark(caller.app, *request, response); });
}

absl::Status FeedServiceImpl::List(AppId app, const v1::ListFeedRequest& request, v1::ListFeedResponse* response) {
  FeedStore::ListQuery query;
  ASSIGN_OR_RETURN(query.key, CheckedKey(app, request.user_id()));
  ASSIGN_OR_RETURN(const int page_size,
                   EffectivePageSize(request.page_size(), limits::kDefaultPageSize, limits::kMaxPageSize));
  const std::string fingerprint =
      absl::StrCat("feed/", app.value(), "/", request.unread_only() ? "unread" : "all", "/", request.user_id());
  ASSIGN_OR_RETURN(query.before_seq, PagePosition(request.page_token(), fingerprint));
  query.unread_only = request.unread_only();
  // One more than asked tells whether there is another page.
  query.limit = page_size + 1;
  ASSIGN_OR_RETURN(std::vector<FeedItem> items, store_->List(query));
  if (items.size() > static_cast<size_t>(page_size)) {
    items.resize(page_size);
    response->set_next_page_token(EncodePageToken(absl::StrCat(items.back().seq), fingerprint));
  }
  for (const FeedItem& item : items) ToProto(item, response->add_items());
  return absl::OkStatus();
}

absl::Status FeedServiceImpl::Summarize(AppId app, const v1::GetFeedSummaryRequest& request,
                                        v1::GetFeedSummaryResponse* response) {
  ASSIGN_OR_RETURN(const FeedKey key, CheckedKey(app, request.user_id()));
  ASSIGN_OR_RETURN(const std::vector<FeedHead> heads, store_->ReadHeads({key}));
  const FeedHead& head = heads.front();
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

void FeedServiceImpl::Announce(const FeedKey& key, const ReadMarker& marker) {
  const LiveMessage message{.key = key, .payload = EncodeLiveUpdate(marker)};
  hub_.OnLiveMessage(message);
  const absl::Status published = publisher_.Publish({message});
  if (!published.ok()) log::Debug("live.publish_failed", {{"error", published}});
}

}  // namespace carillon
