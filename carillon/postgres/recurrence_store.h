// RecurrenceStore on PostgreSQL.
#pragma once

#include <memory>
#include <utility>

#include "carillon/ports/recurrence_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// RunDue holds a session of the pool while it carries out.
class PostgresRecurrenceStore final : public RecurrenceStore {
 public:
  explicit PostgresRecurrenceStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::Status Create(const Recurrence& recurrence) override;
  absl::StatusOr<std::vector<Recurrence>> List(const ListQuery& query) override;
  absl::StatusOr<bool> Delete(AppId app, const Uuid& id) override;
  absl::StatusOr<std::optional<DuePosition>> RunDue(const DueQuery& query, CarryOut carry_out) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
