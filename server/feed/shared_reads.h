// Reads that many ask for at once: one look at the store answers all.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/ports/clock.h"
#include "carillon/runtime/executor.h"
#include "carillon/runtime/metrics.h"
#include "server/feed/read_cache.h"

namespace carillon {

// Of reads with one key at most one is under way and one waits for it to end;
// whoever comes meanwhile joins the one that waits. So nobody is answered by a
// read that began before he asked, and everybody sees what he wrote.
//
// With a max_age an answer serves others until it is that old, counted from the
// beginning of its read; who waits when it arrives gets it too. A failure is told
// to those who joined it, and never kept.
//
// Reads run on the executor; waiting for one holds no thread. Thread-safe. Must
// outlive the reads that it was given; after the last waiter of those was told,
// nothing of it is touched any more.
class SharedReads {
 public:
  struct Options {
    // Zero: nothing is kept.
    absl::Duration max_age;
    size_t cache_entries = 4096;
    size_t cache_bytes = 64 << 20;
    // Who waits for a read, over all keys. More are refused with error::Overloaded.
    size_t max_waiters = 32 * 1024;
  };
  // Gives the serialised answer. Called once or never, on a thread of the executor.
  using Read = absl::AnyInvocable<absl::StatusOr<std::string>()>;
  struct Waiter {
    // True if the answer is of no use any more. A read that only such wait for is left out.
    std::function<bool()> is_gone;
    // Called once: by Ask, or on a thread of the executor. Must not block.
    absl::AnyInvocable<void(const absl::StatusOr<SharedBytes>&)> done;
  };

  // `feed` labels the metrics. Everything given outlives it.
  SharedReads(const std::string& feed, Options options, Executor& executor, const Clock& clock, Metrics& metrics);

  // The key stands for all that the answer depends on.
  void Ask(const std::string& key, Read read, Waiter waiter) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Waiters = std::vector<Waiter>;
  // A read that has not begun, and who waits for it.
  struct Flight {
    Read read;
    Waiters waiters;
  };
  struct Entry {
    bool under_way = false;
    std::unique_ptr<Flight> next;
  };
  enum class Admission { kWaits, kLaunch, kRefused };

  // Takes read and waiter unless it refuses. kLaunch: Launch must follow.
  Admission Admit(const std::string& key, Read& read, Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Launch(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_);
  void Run(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_);
  std::unique_ptr<Flight> Begin(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets go of those who waited, and of those who came since and are answered too:
  // these are added to `waiters`. True if another flight is to be launched.
  bool End(const std::string& key, const absl::StatusOr<SharedBytes>& answer, absl::Time began, Waiters& waiters)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes the flight that waits, and its waiters out of the count.
  Waiters TakeNext(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Executor& executor_;
  const Clock& clock_;
  prometheus::Counter& queries_counter_;
  prometheus::Counter& from_query_counter_;
  prometheus::Counter& joined_counter_;
  prometheus::Counter& from_cache_counter_;

  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  ReadCache cache_ ABSL_GUARDED_BY(mutex_);
  size_t waiter_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace carillon
