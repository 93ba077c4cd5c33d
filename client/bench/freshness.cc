#include "client/bench/freshness.h"

#include <algorithm>

namespace carillon::bench {

void Freshness::Seen(int64_t seq, absl::Duration moment) {
  absl::MutexLock lock(&mutex_);
  while (static_cast<int64_t>(seen_.size()) < seq) seen_.push_back(moment);
}

absl::Duration Freshness::StalenessOf(int64_t last_seq, absl::Duration begun) const {
  absl::MutexLock lock(&mutex_);
  const auto first_lacking = static_cast<size_t>(std::max<int64_t>(last_seq, 0));
  if (first_lacking >= seen_.size()) return absl::ZeroDuration();
  return std::max(begun - seen_[first_lacking], absl::ZeroDuration());
}

int64_t Freshness::last_seq() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(seen_.size());
}

}  // namespace carillon::bench
