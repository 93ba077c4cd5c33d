// The catalogue of types and the policies of apps, kept in memory and followed as they
// change: a new type is known within about a second, without a restart.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/catalog_store.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/stop_signal.h"

namespace carillon {

// Other machines' clocks may be ahead of ours by less than this.
inline constexpr absl::Duration kClockSkew = absl::Seconds(1);

// Thread-safe. Polls the catalogue's version once a second from Start to Stop;
// while PostgreSQL is away it answers from what it has.
class Catalogue {
 public:
  explicit Catalogue(std::shared_ptr<CatalogStore> store) : store_(std::move(store)) {}
  ~Catalogue() { Stop(); }

  void Start();
  void Stop();

  // The app's own row of that name, else the shipped one; null if there is none.
  // What is returned stays valid and never changes.
  std::shared_ptr<const NotificationType> Find(AppId app, absl::string_view name) const;

  // As Find, but looks anew for what it does not know. NOT_FOUND, or as Refresh.
  absl::StatusOr<std::shared_ptr<const NotificationType>> Get(AppId app, absl::string_view name);

  // All that the app may use, by name: its own rows in the place of shipped ones.
  std::vector<std::shared_ptr<const NotificationType>> TypesOf(AppId app) const;

  // What the app has said about all its messages; never null.
  std::shared_ptr<const AppPolicy> PolicyOf(AppId app) const;
  // What time it is for the app.
  absl::Time NowOf(AppId app, const Clock& clock) const { return clock.Now() + PolicyOf(app)->clock_offset; }
  // The same for work on an item that may have been held until a time: never before it
  // was accepted. A sandbox's time may have been moved a moment ago, and is not known here
  // yet: then not before it was to go on. Of other apps an item may come earlier, to be
  // looked at again.
  absl::Time NowOf(const Notification& item, std::optional<absl::Time> held_until, absl::Time our_now) const;

  // Senders of all apps that are shut out.
  size_t CountTrippedSenders() const;

  // Reads it now if it has changed. Blocks for one or two round trips.
  absl::Status Refresh();

  // True once it has been read at all.
  bool loaded() const;

 private:
  using Key = std::pair<AppId, std::string>;
  using Types = std::map<Key, std::shared_ptr<const NotificationType>>;
  using Policies = std::map<AppId, std::shared_ptr<const AppPolicy>>;

  const std::shared_ptr<CatalogStore> store_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Types> types_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Policies> policies_ ABSL_GUARDED_BY(mutex_);
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  StopSignal stop_;
  std::thread thread_;
};

}  // namespace carillon
