// PersonStore on PostgreSQL.
#pragma once

#include <memory>
#include <utility>

#include "carillon/ports/person_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Thread-safe. What nothing indexes by person (memberships, reactions, events,
// notifications and feed items by actor, messages that are kept) is walked through in
// the order of its key, 50 000 rows at a time. That costs about a second for a million
// rows that are cached, whoever it is for, so what it is given may take 30 s a
// statement, and is shared with nobody.
class PostgresPersonStore final : public PersonStore {
 public:
  explicit PostgresPersonStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<ExportPage> Export(const FeedKey& key, const std::string& position, int limit) override;
  absl::StatusOr<EraseStep> Erase(const FeedKey& key, const std::string& position) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
