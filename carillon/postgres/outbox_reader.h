// OutboxReader on PostgreSQL: one connection for one lane of one relay.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "carillon/ports/outbox_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresOutboxReader final : public OutboxReader {
 public:
  PostgresOutboxReader(PgOptions options, Lane lane);
  ~PostgresOutboxReader() override;

  absl::StatusOr<std::vector<OutboxRow>> Take(int limit) override;
  absl::Status Settle(absl::Span<const Failure> failures) override;
  absl::Status Release() override;
  absl::StatusOr<int> ReleaseDue(int limit) override;

 private:
  // Runs the body, turning exceptions into a status; a lost connection is dropped
  // and with it the transaction, which frees its rows.
  absl::Status Guarded(const std::function<void(pqxx::connection&)>& body);
  void Drop();
  void End(const char* command);

  const Lane lane_;
  // Of this lane's tables.
  const std::string prepare_take_sql_, defer_sql_, release_sql_;
  PgSession session_;
  // Where Take begins, and when it looks at the start again (on the monotonic clock).
  Uuid floor_;
  absl::Duration next_start_;
  // Whether this connection knows the statement that takes.
  bool is_prepared_ = false;
  // There between Take and Settle or Release, with a transaction that was begun by hand.
  std::unique_ptr<pqxx::nontransaction> transaction_;
};

}  // namespace carillon
