// Sliding windows in memory, for when the store that all processes share is away.
#pragma once

#include <list>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/cap_store.h"

namespace carillon {

// Knows what it was told, of the recipients of which it was told last. Answers as the
// shared store does, on the clock that it is given. Thread-safe.
class LocalCaps {
 public:
  // Of a notification that was let in, by the app's clock.
  struct Place {
    absl::Time time;
    Uuid member;
  };

  // How many windows it keeps at most, not none; the one that was used longest ago goes first.
  explicit LocalCaps(size_t max_windows) : max_windows_(max_windows) {}

  CapUse Use(const CapStore::Request& request, CapStore::Mode mode, absl::Time now);
  // Somebody else has let it in.
  void Record(const CapStore::Request& request, absl::Time now);

  // Windows that are kept.
  size_t size() const;

 private:
  struct Window {
    std::string key;
    std::vector<Place> places;  // Oldest first; no more than the highest limit.
  };

  // Its places, without those that are over.
  std::vector<Place>& Touch(const CapStore::Request& request, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_windows_;
  mutable absl::Mutex mutex_;
  std::list<Window> windows_ ABSL_GUARDED_BY(mutex_);  // Used last first.
  absl::flat_hash_map<std::string, std::list<Window>::iterator> by_key_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
