// Pages of feeds: what is asked for, and the serialised answers. Free functions;
// thread-safe.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "carillon/ports/feed_store.h"
#include "carillon/v1/feed_service.pb.h"

namespace carillon {

// One page, validated.
struct FeedPage {
  FeedKey key;
  bool unread_only = false;
  int size = 0;
  // From a page token: only what is older.
  std::optional<int64_t> before_seq;
  // Of topics, from a page token: the topic's newest number when the first page was read.
  int64_t last_seq = 0;
};

absl::StatusOr<FeedPage> PageOf(AppId app, const v1::ListFeedRequest& request);
absl::StatusOr<FeedPage> PageOf(AppId app, const v1::ListTopicFeedRequest& request);

// Pages with the same identity have the same answer at any moment.
std::string IdentityOf(const FeedPage& page);

// A ListFeedResponse.
absl::StatusOr<std::string> ReadFeedPage(FeedStore& store, const FeedPage& page);
// A ListTopicFeedResponse. Its items hold everything up to its last_seq that the
// pages before it did not, so a stream after that number continues the list.
absl::StatusOr<std::string> ReadTopicPage(FeedStore& store, const FeedPage& page);

}  // namespace carillon
