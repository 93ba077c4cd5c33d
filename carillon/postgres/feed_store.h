// FeedStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/feed_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresFeedStore final : public FeedStore {
 public:
  explicit PostgresFeedStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<std::vector<DeliveryOutcome>> Deliver(absl::Span<const FeedDelivery> deliveries) override;
  absl::StatusOr<std::vector<Backlog>> ReadBacklogs(absl::Span<const BacklogRequest> requests) override;
  absl::StatusOr<FeedHead> Summarize(const FeedKey& key) override;
  absl::StatusOr<std::vector<FeedHead>> ReadHeads(absl::Span<const FeedKey> keys) override;
  absl::StatusOr<std::vector<FeedItem>> List(const ListQuery& query) override;
  absl::StatusOr<MarkReadResult> MarkReadUpTo(const FeedKey& key, int64_t up_to_seq) override;
  absl::StatusOr<MarkReadResult> MarkReadItems(const FeedKey& key, absl::Span<const NotificationId> ids) override;

 private:
  absl::Status Touch(absl::Span<const FeedKey> keys);
  // Newest first. `behind`: the feed has shared events coming.
  absl::StatusOr<std::vector<FeedItem>> ReadPage(const ListQuery& query, bool& behind);

  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
