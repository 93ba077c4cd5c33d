#include "server/feed/read_cache.h"

#include <utility>

namespace carillon {
namespace {
// A list node, two strings' heads and a place in the map.
constexpr size_t kEntryOverhead = 256;
}  // namespace

SharedBytes ReadCache::Find(absl::string_view key, absl::Time now) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  const Entries::iterator entry = found->second;
  // A wall clock can be set back: what comes from the future is not fresh either.
  if (now < entry->from || now > entry->until) {
    Drop(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return entry->value;
}

void ReadCache::Put(const std::string& key, SharedBytes value, absl::Time from, absl::Time until) {
  if (const auto found = by_key_.find(key); found != by_key_.end()) Drop(found->second);
  Entry entry{.key = key, .value = std::move(value), .from = from, .until = until};
  if (Weight(entry) > max_bytes_) return;
  bytes_ += Weight(entry);
  entries_.push_front(std::move(entry));
  by_key_[entries_.front().key] = entries_.begin();
  while (entries_.size() > max_entries_ || bytes_ > max_bytes_) Drop(std::prev(entries_.end()));
}

size_t ReadCache::Weight(const Entry& entry) { return kEntryOverhead + entry.key.size() + entry.value->size(); }

void ReadCache::Drop(Entries::iterator entry) {
  bytes_ -= Weight(*entry);
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

}  // namespace carillon
