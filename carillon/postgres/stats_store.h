// StatsStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/stats_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresStatsStore final : public StatsStore {
 public:
  explicit PostgresStatsStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<std::vector<DailyStats>> Read(const Query& query, int limit) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
