// ReplayStore on PostgreSQL.
#pragma once

#include <memory>
#include <vector>

#include "carillon/ports/replay_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Step is in replay_step.cc.
class PostgresReplayStore final : public ReplayStore {
 public:
  explicit PostgresReplayStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<ReplayRun> Begin(const ReplayOrder& order) override;
  absl::StatusOr<ReplayRun> Rehearse(const ReplayOrder& order) override;
  absl::StatusOr<ReplayRun> Resume(const Uuid& id, const std::string& operator_name) override;
  absl::StatusOr<std::vector<Lane>> Step(ReplayRun& run, int limit) override;
  absl::StatusOr<int> PurgeStep(ReplayRun& run, int limit) override;
  absl::StatusOr<bool> HasMore(const ReplayRun& run) override;
  absl::StatusOr<bool> Attend(ReplayRun& run, int streak) override;
  absl::Status Finish(ReplayRun& run, ReplayState state, const std::string& detail) override;
  absl::StatusOr<Uuid> NoteShown(const ReplayOrder& order, std::optional<Uuid> id, int letters) override;
  absl::StatusOr<std::vector<Replay>> List(std::optional<Uuid> older_than, int limit) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

// Writes how far a run is, in the transaction of what it did. FAILED_PRECONDITION: it is
// somebody else's now, and nothing of the transaction may stay.
absl::Status KeepProgress(PgSession& session, pqxx::transaction_base& transaction, const ReplayRun& run);
// The letters that a run looks at, wherever it is: a condition on the rows `d` of dead_letters.
std::string RunCondition(const pqxx::transaction_base& transaction, const ReplayRun& run);

}  // namespace carillon
