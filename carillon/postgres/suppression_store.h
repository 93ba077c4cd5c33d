// SuppressionStore on PostgreSQL.
#pragma once

#include <memory>
#include <utility>

#include "carillon/ports/suppression_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Thread-safe.
class PostgresSuppressionStore final : public SuppressionStore {
 public:
  explicit PostgresSuppressionStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<bool> Add(const Suppression& suppression) override;
  absl::StatusOr<bool> Remove(const Suppression& suppression) override;
  absl::StatusOr<SuppressionPage> List(const SuppressionQuery& query) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
