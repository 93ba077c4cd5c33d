// Faults at instants drawn from the seed of a run: a share of the sends accepted,
// so that every one strikes under load, however fast the machine is.
#pragma once

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/bench/ledger.h"
#include "client/bench/stack_control.h"

namespace carillon::bench {

enum class FaultKind {
  kKill,        // SIGKILL, then a restart.
  kStop,        // A gentle stop, then a start.
  kFlushRedis,  // Redis forgets everything and is killed, then starts.
  kPurge,       // The social worker is killed, its queues fill and are purged, it starts.
};

struct Fault {
  FaultKind kind = FaultKind::kKill;
  std::string part;
  // It strikes when so many sends have been accepted.
  int64_t at_accepted = 0;
  // Until it is started again.
  absl::Duration away;
};

struct StruckFault {
  Fault fault;
  // The load still ran when the fault had struck.
  bool under_load = false;
  int64_t accepted = 0;   // By then.
  absl::Duration moment;  // Since the load began.
  absl::Duration outage;  // From then on, until the part served again.
  // Whether it struck and everything came back.
  absl::Status status;
};

// In words: "kill -9 relay".
std::string Describe(const Fault& fault);

// One fault for each name of server, relay, worker (of a lane that the seed
// picks, but not purge's), rabbitmq, redis, postgres and purge, in the order in which they strike.
// The same seed makes the same plan.
absl::StatusOr<std::vector<Fault>> PlanFaults(const std::vector<std::string>& names, uint64_t seed, int64_t count,
                                              absl::Duration postgres_away);

// Strikes, each fault on a thread of its own.
class Chaos {
 public:
  // Starts to wait for the instants. Both outlive it.
  Chaos(const std::vector<Fault>& plan, const StackControl& stack, Ledger& ledger);
  // The ledger must have been closed.
  ~Chaos();

  // Blocks until every fault is over; only after the ledger was closed, which ends
  // the wait for instants that do not come. In the order of the plan.
  std::vector<StruckFault> Wait();

 private:
  void Strike(StruckFault& struck);
  absl::Status Break(const Fault& fault) const;
  absl::Status Mend(const Fault& fault) const;
  absl::Status Purge(const std::string& queue) const;

  const StackControl& stack_;
  Ledger& ledger_;
  const absl::Duration begun_;
  // Each belongs to its thread until that has ended.
  std::vector<StruckFault> struck_;
  std::vector<std::thread> threads_;
};

}  // namespace carillon::bench
