// StorageMonitor on PostgreSQL's statistics. Transactions of other roles are seen by a
// member of pg_read_all_stats only.
#pragma once

#include <memory>
#include <utility>

#include "carillon/ports/storage_monitor.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresStorageMonitor final : public StorageMonitor {
 public:
  explicit PostgresStorageMonitor(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<StorageFigures> Measure() override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
