// Tells streams' sinks that there is something to take, many in a row.
#pragma once

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/feed/live_stream.h"

namespace carillon {

// A sink starts a write, whose price is mostly that of waking other threads. Those
// stay awake when writes are started one right after the other; so whoever has
// events for streams only leaves them here, and while a few threads start the
// writes of what has gathered, more gathers.
//
// Thread-safe. Holds at most an entry per stream: one that was woken is not woken
// again before it has taken something.
class StreamWaker {
 public:
  explicit StreamWaker(int threads) : thread_count_(threads) {}
  ~StreamWaker() { Stop(); }

  void Start();
  // Wakes who is still to be woken. Afterwards Wake does it on the caller's thread.
  // Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Does not block.
  void Wake(std::shared_ptr<StreamSink> sink) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Sinks = std::vector<std::shared_ptr<StreamSink>>;

  void Run();
  // Blocks until there is something; empty after Stop.
  Sinks Take() ABSL_LOCKS_EXCLUDED(mutex_);

  const int thread_count_;

  absl::Mutex mutex_;
  std::deque<std::shared_ptr<StreamSink>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace carillon
