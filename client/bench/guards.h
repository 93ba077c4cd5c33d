// What must hold for a figure to mean anything: nothing that makes Carillon safe
// was switched off to make it fast.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/bench/options.h"

namespace carillon::bench {

// What was seen of the backends, once.
struct SafetySettings {
  std::string fsync;
  std::string full_page_writes;
  std::string synchronous_commit;
  std::string wal_sync_method;
  // name=value, set for a role or a database.
  std::vector<std::string> role_settings;
  // OK if every queue is there as a durable quorum queue.
  absl::Status queues;
};

// How often the safe way was taken so far, and so whether it was in a run.
struct SafetyCounts {
  int64_t wal_syncs = 0;
  int64_t confirms = 0;
};

// Why nothing may be reported, in words; empty if all is well.
std::vector<std::string> FaultsOf(const SafetySettings& settings);
// `confirms`: how many a run must have seen at least.
std::vector<std::string> FaultsOf(const SafetySettings& settings, const SafetyCounts& before, const SafetyCounts& after,
                                  int64_t confirms);

// Asks PostgreSQL, RabbitMQ and the relay. Blocks. Not thread-safe.
class Guards {
 public:
  explicit Guards(const BenchOptions& options);

  // Before a run. FAILED_PRECONDITION says why it may not be.
  absl::Status Check();
  // From here on the relay's counts are taken from its beginning, as it was started anew.
  void RelayStarted(const std::string& metrics_url);
  // After a run in which the broker has confirmed so many rows of the outbox at least. Waits a little
  // for counts that come late.
  absl::Status CheckRun(int64_t confirms);

 private:
  absl::StatusOr<SafetySettings> Settings() const;
  absl::StatusOr<SafetyCounts> Counts() const;

  const std::string database_url_;
  const std::string amqp_url_;
  std::string relay_metrics_url_;
  SafetyCounts before_;
};

}  // namespace carillon::bench
