// What is known of recipients' settings, so that a batch reads only what is new to it.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/decider.h"
#include "carillon/ports/settings_news.h"
#include "carillon/ports/settings_store.h"

namespace carillon {

// A recipient's settings, ready for decisions. Immutable.
class SettingsOfRecipient {
 public:
  explicit SettingsOfRecipient(KnownSettings known);

  const RecipientSettings& settings() const { return settings_; }
  absl::TimeZone zone() const { return zone_; }
  MutedUntil ActorMutedUntil(absl::string_view actor) const { return Find(actors_, actor); }
  MutedUntil ObjectMutedUntil(absl::string_view object) const { return Find(objects_, object); }

 private:
  using Muted = absl::flat_hash_map<std::string, absl::Time>;
  static MutedUntil Find(const Muted& muted, absl::string_view id);

  const RecipientSettings settings_;
  const absl::TimeZone zone_;
  Muted actors_, objects_;
};

// Keeps those that were used last. Thread-safe. It is only as true as the news that it
// gets: while nobody listens to changes it must be closed, as it is at first.
class SettingsCache {
 public:
  using Entry = std::shared_ptr<const SettingsOfRecipient>;

  // The store must outlive it. At least one entry.
  SettingsCache(SettingsStore& store, size_t max_entries) : store_(store), max_entries_(max_entries) {}

  // In order; at most one read of the store, of those that are not known.
  absl::StatusOr<std::vector<Entry>> Read(absl::Span<const FeedKey> keys);

  // A change was told: nothing that was read before is believed.
  void Forget(const FeedKey& key);
  // The same, of everybody.
  void ForgetAll();
  // Changes are told from now on.
  void Open();
  // Changes may be missed from now on: everything is read anew, each time.
  void Close();

 private:
  struct Slot {
    FeedKey key;
    Entry entry;
  };

  void Clear() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Entry Find(const FeedKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Keep(const FeedKey& key, Entry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  SettingsStore& store_;
  const size_t max_entries_;
  absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  // How often something was forgotten: what was read meanwhile may be old.
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Slot> slots_ ABSL_GUARDED_BY(mutex_);  // Used last first.
  absl::flat_hash_map<FeedKey, std::list<Slot>::iterator> by_key_ ABSL_GUARDED_BY(mutex_);
};

// For whoever hears of changes (PostgresSettingsListener), who must be gone before the
// cache. `on_loss` is told why, after the cache was closed; may be empty.
SettingsNews NewsFor(SettingsCache& cache, std::function<void(const absl::Status&)> on_loss = {});

}  // namespace carillon
