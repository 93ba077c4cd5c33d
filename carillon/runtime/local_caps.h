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

// Knows what it was told, of the recipients of which it was told last. Thread-safe.
class LocalCaps {
 public:
  // How many windows it keeps at most; the one that was used longest ago goes first.
  explicit LocalCaps(size_t max_windows) : max_windows_(max_windows) {}

  CapUse Use(const CapStore::Request& request, CapStore::Mode mode, absl::Time now);
  // Somebody else has let it in.
  void Record(const CapStore::Request& request, absl::Time now);

 private:
  struct Place {
    absl::Time time;
    Uuid member;
  };
  struct Window {
    std::string key;
    std::vector<Place> places;  // Oldest first.
  };

  Window& Touch(const CapStore::Request& request, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_windows_;
  absl::Mutex mutex_;
  std::list<Window> windows_ ABSL_GUARDED_BY(mutex_);  // Used last first.
  absl::flat_hash_map<std::string, std::list<Window>::iterator> by_key_ ABSL_GUARDED_BY(mutex_);
};

// carillon:cap:{app}:{channel}:{type}:{recipient}
std::string CapKey(const CapStore::Request& request);

}  // namespace carillon
