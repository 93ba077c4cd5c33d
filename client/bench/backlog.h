// Rows as the door and the workers write them, made in bulk by the database
// itself: what a measurement of everything behind the door begins with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/postgres/session.h"
#include "client/bench/options.h"

namespace carillon::bench {

// All rows are of marketing.discount. Owner thread only; everything blocks.
class Backlog {
 public:
  explicit Backlog(const BenchOptions& options);

  // Accepted notifications and their outbox rows, to these recipients in turn,
  // whose ids must be of one length. Without `notifications` the outbox rows alone.
  absl::Status Add(int64_t count, const std::vector<std::string>& recipients, bool notifications);
  // The same, but scheduled, and all of them due at this instant.
  absl::Status AddScheduled(int64_t count, const std::vector<std::string>& recipients);
  // Notifications that were delivered, with their feed items and feed heads; no outbox rows.
  absl::Status AddDelivered(int64_t count, const std::vector<std::string>& recipients);
  // So that the next checkpoint is not met by a measurement.
  absl::Status Checkpoint();

  // True if no row of the lane waits in the outbox.
  absl::StatusOr<bool> IsOutboxEmpty(const std::string& lane);
  // True if no scheduled row that is due waits.
  absl::StatusOr<bool> IsNothingDue();
  // Waits until then; looks every 20 ms.
  absl::Status WaitForEmptyOutbox(const std::string& lane, absl::Duration timeout);
  // Takes back what Add made and is not delivered. The relay must be stopped.
  absl::Status Remove();

 private:
  // `sql`: with the parameters of the statements in backlog.cc.
  absl::Status AddMessages(const std::string& sql, const std::string& state, int64_t count,
                           const std::vector<std::string>& recipients);
  absl::Status Execute(const std::string& sql);

  const std::string app_key_;
  PgSession session_;
};

}  // namespace carillon::bench
