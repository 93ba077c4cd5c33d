#include "carillon/runtime/local_caps.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

using Place = LocalCaps::Place;

std::string KeyOf(const CapStore::Request& request) {
  return absl::StrCat(request.key.app.value(), ":", ToString(request.channel), ":", request.type, ":",
                      request.key.recipient.value());
}

bool HasLowerLimit(const Cap& a, const Cap& b) { return a.limit < b.limit; }

absl::Duration LongestWindow(const CapStore::Request& request) {
  absl::Duration longest;
  for (const Cap& cap : request.caps) longest = std::max(longest, cap.window);
  return longest;
}

bool HasPlace(const std::vector<Place>& places, const Uuid& member) {
  return absl::c_any_of(places, [&](const Place& one) { return one.member == member; });
}

CapUse UseOf(const std::vector<Place>& places, const Cap& cap, bool has_place, absl::Time now) {
  const auto begin = absl::c_find_if(places, [&](const Place& one) { return one.time > now - cap.window; });
  const int64_t count = places.end() - begin;
  if (has_place) return {.cap = cap, .count = count, .has_room = true, .next_room = now};
  if (count < cap.limit) return {.cap = cap, .count = count + 1, .has_room = true, .next_room = now};
  return {.cap = cap, .count = count, .has_room = false, .next_room = (begin + (count - cap.limit))->time + cap.window};
}

}  // namespace

CapUse LocalCaps::Use(const CapStore::Request& request, CapStore::Mode mode, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  now += request.clock_offset;
  // Who only looks leaves nothing behind, and so makes nothing give way.
  std::vector<Place> none;
  const bool leaves_none = mode == CapStore::Mode::kPeek && !by_key_.contains(KeyOf(request));
  std::vector<Place>& places = leaves_none ? none : Touch(request, now);
  const bool has_place = HasPlace(places, request.member);
  std::vector<CapUse> uses;
  for (const Cap& cap : request.caps) uses.push_back(UseOf(places, cap, has_place, now));
  const CapUse& tightest = Tightest(uses);
  if (mode == CapStore::Mode::kTake && tightest.has_room && !has_place) places.push_back({now, request.member});
  return tightest;
}

void LocalCaps::Record(const CapStore::Request& request, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  now += request.clock_offset;
  std::vector<Place>& places = Touch(request, now);
  if (HasPlace(places, request.member)) return;
  places.push_back({now, request.member});
  // A store that has lost its memory lets in more: the newest are enough to say so.
  const auto highest = static_cast<size_t>(absl::c_max_element(request.caps, HasLowerLimit)->limit);
  if (places.size() > highest) places.erase(places.begin());
}

size_t LocalCaps::size() const {
  absl::MutexLock lock(&mutex_);
  return windows_.size();
}

std::vector<LocalCaps::Place>& LocalCaps::Touch(const CapStore::Request& request, absl::Time now) {
  std::string key = KeyOf(request);
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    windows_.splice(windows_.begin(), windows_, found->second);
  } else {
    if (windows_.size() >= max_windows_) {
      by_key_.erase(windows_.back().key);
      windows_.pop_back();
    }
    windows_.push_front({key, {}});
    by_key_.emplace(std::move(key), windows_.begin());
  }
  std::vector<Place>& places = windows_.front().places;
  const absl::Time oldest = now - LongestWindow(request);
  std::erase_if(places, [&](const Place& one) { return one.time <= oldest; });
  return places;
}

}  // namespace carillon
