#include "carillon/runtime/local_caps.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

absl::Duration LongestWindow(const CapStore::Request& request) {
  absl::Duration longest;
  for (const Cap& cap : request.caps) longest = std::max(longest, cap.window);
  return longest;
}

}  // namespace

std::string CapKey(const CapStore::Request& request) {
  return absl::StrCat("carillon:cap:", request.key.app.value(), ":", ToString(request.channel), ":", request.type, ":",
                      request.key.recipient.value());
}

CapUse LocalCaps::Use(const CapStore::Request& request, CapStore::Mode mode, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  now += request.clock_offset;
  Window& window = Touch(request, now);
  const bool has_place = absl::c_any_of(window.places, [&](const Place& one) { return one.member == request.member; });
  std::vector<CapUse> uses;
  for (const Cap& cap : request.caps) {
    const auto begin = absl::c_find_if(window.places, [&](const Place& one) { return one.time > now - cap.window; });
    const int64_t count = window.places.end() - begin;
    CapUse use{.cap = cap, .count = count + (has_place ? 0 : 1), .has_room = has_place || count < cap.limit, .next_room = {}};
    if (!use.has_room) {
      use.count = count;
      use.next_room = (begin + (count - cap.limit))->time + cap.window;
    }
    uses.push_back(use);
  }
  const CapUse& tightest = Tightest(uses);
  if (mode == CapStore::Mode::kTake && tightest.has_room && !has_place) window.places.push_back({now, request.member});
  return tightest;
}

void LocalCaps::Record(const CapStore::Request& request, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  now += request.clock_offset;
  Window& window = Touch(request, now);
  const bool has_place = absl::c_any_of(window.places, [&](const Place& one) { return one.member == request.member; });
  if (!has_place) window.places.push_back({now, request.member});
}

LocalCaps::Window& LocalCaps::Touch(const CapStore::Request& request, absl::Time now) {
  std::string key = CapKey(request);
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
  Window& window = windows_.front();
  const absl::Time oldest = now - LongestWindow(request);
  std::erase_if(window.places, [&](const Place& one) { return one.time <= oldest; });
  return window;
}

}  // namespace carillon
