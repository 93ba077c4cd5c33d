// Group commit of reactions at the door. Callers enqueue what they have checked;
// one thread gives out versions to all that gathered, writes them to the outbox in
// one statement and then completes each caller.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/runtime/metrics.h"
#include "server/ingest/group_queue.h"

namespace carillon {

// One caller's reactions: all are written or none.
struct ReactionRequest {
  std::vector<Reaction> reactions;  // At most ReactionStore::kVersionBlock; versions are given out here.
  // Not begun after this.
  absl::Time deadline;
  // Runs once, on the writer's thread or, if it is refused, on the caller's; must not block.
  absl::AnyInvocable<void(const absl::Status&)> done;
};

// Thread-safe.
class ReactionWriter {
 public:
  // Its thread uses a connection of the store for as long as a commit takes.
  ReactionWriter(size_t queue_reactions, std::shared_ptr<ReactionStore> store, OutboxWaker& waker, const Clock& clock,
                 Metrics& metrics);
  ~ReactionWriter() { Stop(); }

  // Takes the request, or completes it at once with OVERLOADED or DRAINING.
  void Submit(ReactionRequest request);

  // Refuses what comes, writes what waits, returns when all are completed. Idempotent.
  void Stop();

 private:
  // What one statement takes.
  using Group = std::vector<ReactionRequest>;

  void Run();
  void Commit(Group group);
  absl::Status Write(absl::Span<ReactionRequest> group);

  const std::shared_ptr<ReactionStore> store_;
  OutboxWaker& waker_;
  const Clock& clock_;
  prometheus::Histogram& commit_seconds_;
  prometheus::Counter& accepted_;
  GroupQueue<ReactionRequest> queue_;
  std::thread thread_;
};

}  // namespace carillon
