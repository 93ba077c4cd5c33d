#include "carillon/runtime/settings_cache.h"

#include <utility>

#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

// A zone that this machine does not know is none that the door let in.
absl::TimeZone ZoneOf(const std::string& name) {
  absl::TimeZone zone = absl::UTCTimeZone();
  if (!name.empty()) absl::LoadTimeZone(name, &zone);
  return zone;
}

// Nearly everybody has said nothing: they share one entry.
SettingsCache::Entry MakeEntry(KnownSettings known) {
  static const auto* const none = new SettingsCache::Entry(std::make_shared<SettingsOfRecipient>(KnownSettings()));
  if (known.settings == RecipientSettings() && known.time_zone.empty() && known.mutes.empty()) return *none;
  return std::make_shared<const SettingsOfRecipient>(std::move(known));
}

}  // namespace

SettingsOfRecipient::SettingsOfRecipient(KnownSettings known)
    : settings_(std::move(known.settings)), zone_(ZoneOf(known.time_zone)) {
  for (Mute& mute : known.mutes) {
    (mute.kind == MuteKind::kActor ? actors_ : objects_).emplace(std::move(mute.id), mute.until);
  }
}

MutedUntil SettingsOfRecipient::Find(const Muted& muted, absl::string_view id) {
  if (muted.empty() || id.empty()) return std::nullopt;
  const auto found = muted.find(id);
  return found == muted.end() ? std::nullopt : MutedUntil(found->second);
}

absl::StatusOr<std::vector<SettingsCache::Entry>> SettingsCache::Read(absl::Span<const FeedKey> keys) {
  std::vector<Entry> entries(keys.size());
  std::vector<FeedKey> unknown;
  std::vector<size_t> positions;
  int64_t changes_before = 0;
  {
    absl::MutexLock lock(&mutex_);
    changes_before = changes_;
    for (size_t i = 0; i < keys.size(); ++i) {
      entries[i] = Find(keys[i]);
      if (entries[i] != nullptr) continue;
      unknown.push_back(keys[i]);
      positions.push_back(i);
    }
  }
  if (unknown.empty()) return entries;
  ASSIGN_OR_RETURN(std::vector<KnownSettings> read, store_.Read(unknown));
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < read.size(); ++i) {
    entries[positions[i]] = MakeEntry(std::move(read[i]));
    if (open_ && changes_ == changes_before) Keep(unknown[i], entries[positions[i]]);
  }
  return entries;
}

void SettingsCache::Forget(const FeedKey& key) {
  absl::MutexLock lock(&mutex_);
  ++changes_;
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  slots_.erase(found->second);
  by_key_.erase(found);
}

void SettingsCache::ForgetAll() {
  absl::MutexLock lock(&mutex_);
  Clear();
}

void SettingsCache::Open() {
  absl::MutexLock lock(&mutex_);
  open_ = true;
  // What is being read may be from before anybody listened.
  ++changes_;
}

void SettingsCache::Close() {
  absl::MutexLock lock(&mutex_);
  open_ = false;
  Clear();
}

void SettingsCache::Clear() {
  ++changes_;
  by_key_.clear();
  slots_.clear();
}

SettingsCache::Entry SettingsCache::Find(const FeedKey& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  slots_.splice(slots_.begin(), slots_, found->second);
  return found->second->entry;
}

void SettingsCache::Keep(const FeedKey& key, Entry entry) {
  if (by_key_.contains(key)) return;
  if (slots_.size() >= max_entries_) {
    by_key_.erase(slots_.back().key);
    slots_.pop_back();
  }
  slots_.push_front({key, std::move(entry)});
  by_key_.emplace(key, slots_.begin());
}

SettingsNews NewsFor(SettingsCache& cache, std::function<void(const absl::Status&)> on_loss) {
  return {.on_change = [&cache](const FeedKey& key) { cache.Forget(key); },
          .on_change_of_many = [&cache] { cache.ForgetAll(); },
          .on_open = [&cache] { cache.Open(); },
          .on_loss =
              [&cache, on_loss = std::move(on_loss)](const absl::Status& why) {
                cache.Close();
                if (on_loss) on_loss(why);
              }};
}

}  // namespace carillon
