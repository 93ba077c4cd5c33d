// A single item on its way into a feed.
#pragma once

#include "absl/status/statusor.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/feed_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Puts it into the feed, once. The number it got there; 0 if the feed had it.
absl::StatusOr<int64_t> AddFeedItem(PgPool& pool, const FeedKey& key, int retention_days, const FeedItem& item);

// The same for many in one transaction, in the order in which everybody locks feeds.
void AddFeedItems(PgSession& session, pqxx::transaction_base& transaction, std::vector<FeedAddition*> additions);

}  // namespace carillon
