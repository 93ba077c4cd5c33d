// WatchStore on PostgreSQL.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "carillon/ports/watch_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresWatchStore final : public WatchStore {
 public:
  explicit PostgresWatchStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<std::vector<std::string>> Look(absl::Span<const WatchKey> keys) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
