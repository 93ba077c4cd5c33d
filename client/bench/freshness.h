// How stale reads of a feed are, by what a stream of it has shown.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace carillon::bench {

// Thread-safe. Times by MonotonicNow.
class Freshness {
 public:
  // An item of this number was seen on the stream. Numbers rise, from 1 on; those
  // left out count as seen with the next.
  void Seen(int64_t seq, absl::Duration moment);
  // Of an answer that knows items up to last_seq, to a read that began then: how
  // long the oldest item that it lacks had been seen. Zero if it lacks none.
  absl::Duration StalenessOf(int64_t last_seq, absl::Duration begun) const;
  int64_t last_seq() const;

 private:
  mutable absl::Mutex mutex_;
  // Of number i + 1.
  std::vector<absl::Duration> seen_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon::bench
