// Serialised answers, kept for a short time.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace carillon {

using SharedBytes = std::shared_ptr<const std::string>;

// Bounded in entries and bytes: what was asked for longest ago gives way. Not
// thread-safe.
class ReadCache {
 public:
  ReadCache(size_t max_entries, size_t max_bytes) : max_entries_(max_entries), max_bytes_(max_bytes) {}

  // Null if there is none, or if `now` is not within its time.
  SharedBytes Find(absl::string_view key, absl::Time now);
  // What is larger than the whole cache is not kept.
  void Put(const std::string& key, SharedBytes value, absl::Time from, absl::Time until);

  size_t bytes() const { return bytes_; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    SharedBytes value;
    absl::Time from;
    absl::Time until;
  };
  using Entries = std::list<Entry>;

  static size_t Weight(const Entry& entry);
  void Drop(Entries::iterator entry);

  const size_t max_entries_;
  const size_t max_bytes_;
  size_t bytes_ = 0;
  Entries entries_;  // The one asked for last comes first.
  // The keys are those in the entries.
  absl::flat_hash_map<absl::string_view, Entries::iterator> by_key_;
};

}  // namespace carillon
