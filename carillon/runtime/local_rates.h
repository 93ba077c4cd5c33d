// Rates in the memory of this process, for when the store that all processes share is away.
#pragma once

#include <list>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/rate_limiter.h"

namespace carillon {

// Knows what it was asked and told, of the apps and senders of which that was last.
// Never fails, never blocks. Thread-safe.
class LocalRates final : public RateLimiter {
 public:
  // Of at most so many apps and senders; the one that was asked for longest ago goes
  // first. The clock must outlive it.
  LocalRates(size_t max_keys, const Clock& clock) : max_keys_(max_keys), clock_(clock) {}

  absl::StatusOr<std::vector<RateAnswer>> Take(absl::Span<const RateRequest> requests) override;
  // Somebody else has answered so.
  void Note(const RateRequest& request, const RateAnswer& answer);

 private:
  struct Key {
    std::string name;
    // When all that was let in has had its time.
    absl::Time arrival;
    // Of the sender's minute.
    int64_t count = 0;
    absl::Time count_end;
  };
  Key& Touch(absl::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How far ahead of now the rate's arrival is once its places are taken.
  absl::Duration AheadWith(AppId app, const SendRate& rate, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<int64_t> Count(const RateRequest& request, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakePlaces(AppId app, absl::Span<const SendRate> rates, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RateAnswer TakeOne(const RateRequest& request, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_keys_;
  const Clock& clock_;
  absl::Mutex mutex_;
  std::list<Key> keys_ ABSL_GUARDED_BY(mutex_);  // Used last first.
  absl::flat_hash_map<std::string, std::list<Key>::iterator> by_name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
