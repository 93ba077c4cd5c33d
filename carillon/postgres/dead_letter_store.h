// DeadLetterStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/dead_letter_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresDeadLetterStore final : public DeadLetterStore {
 public:
  explicit PostgresDeadLetterStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::Status Record(absl::Span<const DeadLetter> letters) override;
  absl::StatusOr<std::vector<DeadLetter>> List(const ListQuery& query) override;
  absl::StatusOr<DeadLetter> Get(int64_t id) override;
  absl::StatusOr<Summary> Summarize(const DeadLetterFilter& filter, int limit) override;
  absl::StatusOr<std::vector<int64_t>> Count(absl::Span<const std::string> queues, int64_t most) override;
  absl::StatusOr<int> Forget(absl::Time over_before, int limit) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
