// ExplainStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/explain_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresExplainStore final : public ExplainStore {
 public:
  explicit PostgresExplainStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<NotificationFacts> Read(const FeedKey& recipient, const NotificationId& id) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
