// Looks after all notifications that are watched at this server.
//
// One thread looks at all of them twice a second in one query, reads those that have
// changed, and hands each watcher the newest of what it has not seen: a slow one misses
// steps, and none costs memory. A watch ends when its notification has.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "carillon/ports/watch_store.h"
#include "carillon/runtime/metrics.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/notification_reader.h"
#include "server/feed/live_stream.h"

namespace carillon {

// Hears that there is something to take. Called without locks, on the thread of the
// watches; must not block.
class WatchListener {
 public:
  virtual ~WatchListener() = default;
  virtual void OnReady() = 0;
};

// A response to write, or the status to end with.
struct WatchStep {
  std::optional<v1::WatchNotificationResponse> response;
  absl::Status status;
};

// Thread-safe.
class NotificationWatches {
 public:
  struct Watch;
  using WatchPtr = std::shared_ptr<Watch>;

  NotificationWatches(std::shared_ptr<WatchStore> store, NotificationReader reader, Metrics& metrics);
  ~NotificationWatches() { Stop(); }

  void Start();
  // Ends all with DRAINING. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // The first answer follows at once. TOO_MANY_STREAMS or DRAINING. The permit is asked
  // every few seconds.
  absl::StatusOr<WatchPtr> Open(AppId app, const NotificationId& id, std::shared_ptr<WatchListener> listener,
                                StreamPermit permit = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);
  // What comes next; nothing if nothing is new.
  std::optional<WatchStep> Take(const WatchPtr& watch) ABSL_LOCKS_EXCLUDED(mutex_);
  void Close(const WatchPtr& watch) ABSL_LOCKS_EXCLUDED(mutex_);

  // What the thread does each time: looks at those that are fresh, or at all. Owner thread
  // only, while it does not run.
  void Look(bool fresh_only);

 private:
  void Run();
  // False: stopped. `fresh_only`: it is not yet time for the others.
  bool AwaitNext(absl::Duration next_look, bool& fresh_only) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<WatchPtr> Collect(bool fresh_only) ABSL_LOCKS_EXCLUDED(mutex_);
  // Reads it if it looks different. True if there is something to take.
  bool Renew(Watch& watch, const std::string& look) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Offer(Watch& watch, v1::Notification notification) ABSL_LOCKS_EXCLUDED(mutex_);
  bool End(Watch& watch, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends those that may not go on.
  void AskPermits(absl::Span<const WatchPtr> watches);
  void Tell(const Watch& watch) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<WatchStore> store_;
  const NotificationReader reader_;
  prometheus::Gauge& open_;
  // The thread's.
  absl::Duration next_permits_;

  absl::Mutex mutex_;
  std::vector<WatchPtr> watches_ ABSL_GUARDED_BY(mutex_);
  std::map<AppId, size_t> by_app_ ABSL_GUARDED_BY(mutex_);
  size_t fresh_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace carillon
