// Group commit at the door. Callers enqueue validated notifications; the threads
// of the writer commit what has gathered in one transaction and then complete
// each caller. Under load a commit takes many; when idle it takes one at once:
// the time of a commit is the only delay.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/notification_store.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// One caller's notifications.
struct IngestRequest {
  std::vector<NewNotification> items;
  // A batch request: all of its items or none, in a transaction of its own.
  bool all_or_nothing = false;
  // Not begun after this.
  absl::Time deadline;
  // Runs once, with one outcome per item and the items themselves, on a thread of
  // the writer or, if it is refused, of the caller; must not block. Both are good
  // for as long as it runs.
  using Outcomes = absl::StatusOr<absl::Span<const AcceptOutcome>>;
  absl::AnyInvocable<void(const Outcomes&, absl::Span<const NewNotification>)> done;
};

// One weight class's writer. Thread-safe.
class IngestWriter {
 public:
  struct Options {
    Lane lane = Lane::kSocial;
    // Each thread uses a connection of the store for as long as a commit takes.
    int threads = 2;
    size_t queue_items = limits::kWriterQueueItems;
    size_t batch_items = limits::kWriterBatchItems;
  };

  // Without `versions` what needs one gets it from the worker.
  IngestWriter(const Options& options, std::shared_ptr<NotificationStore> store, OutboxWaker& waker, const Clock& clock,
               Metrics& metrics, std::shared_ptr<ReactionStore> versions = nullptr);
  ~IngestWriter() { Stop(); }

  // Takes the request, or completes it at once with OVERLOADED or DRAINING.
  void Submit(IngestRequest request);

  // Refuses what comes, commits what waits, returns when all are completed. Idempotent.
  void Stop();

 private:
  // What one transaction takes.
  using Group = std::vector<IngestRequest>;

  // Takes groups whenever this many items wait.
  void Run(size_t least);
  Group TakeGroup(size_t least, bool busy);
  // Waits. True if this thread is to take what is there, if that is still so.
  bool AwaitItems(size_t least, bool busy) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Commit(Group group);
  // Numbers those that are reactions, after all of them have come: who was answered before has
  // a lower version. Nothing is read for others.
  absl::Status TakeVersions(Group& group);
  void CommitTogether(Group& group);
  void CommitAlone(IngestRequest& request, absl::Span<const NewNotification> items);
  // Tells in the log when commits begin to fail for want of PostgreSQL, and when they work again.
  void Note(const absl::Status& outcome);
  // Wakes the relays for what is new of a transaction's items.
  void Announce(absl::Span<const NewNotification> items, absl::Span<const AcceptOutcome> outcomes);

  const Options options_;
  const std::shared_ptr<NotificationStore> store_;
  const std::shared_ptr<ReactionStore> versions_;
  OutboxWaker& waker_;
  const Clock& clock_;
  prometheus::Histogram& commit_seconds_;
  prometheus::Counter& committed_;
  prometheus::Gauge& queued_;
  std::atomic<bool> failing_ = false;

  absl::Mutex mutex_;
  std::deque<IngestRequest> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_items_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t groups_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// One writer a lane; a caller's load fills the queue of its own weight only.
using IngestWriters = std::map<Lane, std::unique_ptr<IngestWriter>>;

}  // namespace carillon
