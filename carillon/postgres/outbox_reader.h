// OutboxReader on PostgreSQL: one connection for one lane of one relay.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "carillon/ports/outbox_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// The channel on which a lane's relays are woken.
std::string WakeChannel(Lane lane);

class PostgresOutboxReader final : public OutboxReader {
 public:
  PostgresOutboxReader(PgOptions options, Lane lane);
  ~PostgresOutboxReader() override;

  absl::StatusOr<std::vector<OutboxRow>> Take(int limit) override;
  absl::Status Settle(absl::Span<const size_t> published, absl::Span<const Failure> failures) override;
  absl::StatusOr<int> ReleaseDue(int limit) override;
  absl::Status WaitForRows(absl::Duration time) override;

 private:
  class WakeReceiver;

  // Runs the body, turning exceptions into a status; a lost connection is dropped
  // and with it the transaction, which frees its rows.
  absl::Status Guarded(const std::function<void(pqxx::connection&)>& body);
  void Drop();

  const Lane lane_;
  PgSession session_;
  std::unique_ptr<WakeReceiver> receiver_;
  // Open between Take and Settle.
  std::unique_ptr<pqxx::work> transaction_;
  // Where the rows taken are; they can't move while they are locked.
  std::vector<std::string> row_locations_;
};

}  // namespace carillon
