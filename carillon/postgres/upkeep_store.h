// UpkeepStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/upkeep_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresUpkeepStore final : public UpkeepStore {
 public:
  explicit PostgresUpkeepStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<int> EnsureSlices(absl::Time from, absl::Time until) override;
  absl::StatusOr<bool> RetireStep(absl::Time now, int recipients) override;
  absl::StatusOr<int> ExpireKeys(absl::Time now, int limit) override;
  absl::StatusOr<int> ForgetDigests(absl::Time closed_before, int limit) override;
  absl::StatusOr<int> SweepStep(Pass pass, absl::Time accepted_before, int limit) override;
  absl::StatusOr<std::vector<Notification>> DueStragglers(Lane lane, absl::Time idle_since, absl::Duration again,
                                                          int limit) override;
  absl::StatusOr<int> Reenqueue(absl::Span<const NewNotification> idle) override;
  absl::StatusOr<std::vector<OutboxStats>> Outbox() override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
