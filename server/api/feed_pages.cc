#include "server/api/feed_pages.h"

#include <google/protobuf/arena.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/event.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/wire/feed_event.h"
#include "server/api/page_token.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

// What the page tokens of a listing are good for.
std::string Fingerprint(const FeedPage& page) {
  return absl::StrCat("feed/", page.key.app.value(), "/", page.unread_only ? "unread" : "all", "/",
                      page.key.recipient.value());
}

absl::Status SetSize(int asked, FeedPage* page) {
  ASSIGN_OR_RETURN(page->size, EffectivePageSize(asked, limits::kDefaultPageSize, limits::kMaxPageSize));
  return absl::OkStatus();
}

// The position in a token: one more number for topics.
absl::Status SetPosition(const std::string& token, FeedPage* page) {
  if (token.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(token, Fingerprint(*page)));
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(position, absl::MaxSplits('/', 1));
  int64_t before_seq = 0;
  if (!absl::SimpleAtoi(parts.first, &before_seq) ||
      (IsTopicFeed(page->key) && !absl::SimpleAtoi(parts.second, &page->last_seq))) {
    return error::InvalidField("page_token", "must be from a page of feeds");
  }
  page->before_seq = before_seq;
  return absl::OkStatus();
}

std::string TokenAfter(int64_t seq, const FeedPage& page) {
  const std::string position = IsTopicFeed(page.key) ? absl::StrCat(seq, "/", page.last_seq) : absl::StrCat(seq);
  return EncodePageToken(position, Fingerprint(page));
}

// The items of a page, and the token of the next one if there is one.
template <typename Response>
absl::Status FillPage(FeedStore& store, const FeedPage& page, Response* response) {
  // One more than asked tells whether there is another page.
  ASSIGN_OR_RETURN(
      std::vector<FeedItem> items,
      store.List(
          {.key = page.key, .unread_only = page.unread_only, .before_seq = page.before_seq, .limit = page.size + 1}));
  if (items.size() > static_cast<size_t>(page.size)) {
    items.resize(page.size);
    response->set_next_page_token(TokenAfter(items.back().seq, page));
  }
  for (const FeedItem& item : items) ToProto(item, response->add_items());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FeedPage> PageOf(AppId app, const v1::ListFeedRequest& request) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  RETURN_IF_ERROR(violations.ToStatus());
  FeedPage page{.key = {.app = app, .recipient = RecipientId(request.user_id())}, .unread_only = request.unread_only()};
  RETURN_IF_ERROR(SetSize(request.page_size(), &page));
  RETURN_IF_ERROR(SetPosition(request.page_token(), &page));
  return page;
}

absl::StatusOr<FeedPage> PageOf(AppId app, const v1::ListTopicFeedRequest& request) {
  Violations violations;
  violations.CheckId("topic_id", request.topic_id(), /*required=*/true);
  RETURN_IF_ERROR(violations.ToStatus());
  FeedPage page{.key = TopicFeedKey(app, request.topic_id())};
  RETURN_IF_ERROR(SetSize(request.page_size(), &page));
  RETURN_IF_ERROR(SetPosition(request.page_token(), &page));
  return page;
}

std::string IdentityOf(const FeedPage& page) {
  // A token may name any number: none of them stands for the first page.
  const std::string position = page.before_seq.has_value() ? absl::StrCat(*page.before_seq) : "newest";
  return absl::StrCat(page.size, "/", position, "/", page.last_seq, "/", Fingerprint(page));
}

absl::StatusOr<std::string> ReadFeedPage(FeedStore& store, const FeedPage& page) {
  google::protobuf::Arena arena;
  auto* const response = google::protobuf::Arena::CreateMessage<v1::ListFeedResponse>(&arena);
  RETURN_IF_ERROR(FillPage(store, page, response));
  return response->SerializeAsString();
}

absl::StatusOr<std::string> ReadTopicPage(FeedStore& store, const FeedPage& page) {
  google::protobuf::Arena arena;
  auto* const response = google::protobuf::Arena::CreateMessage<v1::ListTopicFeedResponse>(&arena);
  FeedPage bounded = page;
  if (!page.before_seq.has_value()) {
    // Read first, and what comes after it left out: list and number fit together.
    ASSIGN_OR_RETURN(const std::vector<FeedHead> heads, store.ReadHeads({page.key}));
    bounded.last_seq = heads.front().last_seq;
    bounded.before_seq = bounded.last_seq + 1;
  }
  response->set_last_seq(bounded.last_seq);
  if (bounded.last_seq > 0) RETURN_IF_ERROR(FillPage(store, bounded, response));
  return response->SerializeAsString();
}

}  // namespace carillon
