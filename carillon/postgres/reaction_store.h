// ReactionStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/reaction_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresReactionStore final : public ReactionStore {
 public:
  explicit PostgresReactionStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<int64_t> TakeVersions() override;
  absl::Status Enqueue(absl::Span<const ReactionRow> rows) override;
  absl::StatusOr<std::vector<ReactionChange>> Apply(absl::Span<const Reaction> reactions, Render render) override;
  absl::StatusOr<GatherResult> Gather(absl::Span<const GatheredNotification> notifications, Render render) override;
  absl::StatusOr<std::vector<std::optional<GatheredWindow>>> ReadWindows(absl::Span<const DueWindow> windows) override;
  absl::StatusOr<int> EndWindows(absl::Span<const WindowEnd> windows, BeginDeliveries begin) override;
  absl::StatusOr<std::vector<ReactionCounter>> Counters(AppId app, absl::Span<const std::string> object_ids) override;
  absl::StatusOr<RequeuedReactions> RequeueIdle(absl::Time idle_since, int limit) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
