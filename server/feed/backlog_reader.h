// Reads the backlogs of many live streams with few queries.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "carillon/domain/backoff.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/stop_signal.h"
#include "server/feed/live_stream.h"

namespace carillon {

// A few threads that may block on the store. While they read, further requests
// gather; the next read takes many of them at once, and streams of one recipient
// at one position share a request and its events. Of many it first reads the
// heads, which is cheap: most clients that come back together have missed nothing.
// When the store fails, streams stay where they are and the read is repeated with
// backoff.
//
// Thread-safe. Holds as many entries as there are streams.
class BacklogReader {
 public:
  // Tells the hub what a stream wants after its read.
  using Act = std::function<void(const std::shared_ptr<LiveStream>&, LiveStream::Wants)>;

  // The store must outlive it. act is called on its threads, never under a lock.
  BacklogReader(FeedStore& store, int threads, Act act);
  ~BacklogReader() { Stop(); }

  void Start();
  // Returns when no read is under way. What is queued is dropped. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // The stream must want a read: one entry a stream.
  void Enqueue(std::shared_ptr<LiveStream> stream) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Streams = std::vector<std::shared_ptr<LiveStream>>;
  // Streams that share a request.
  struct Group {
    BacklogRequest request;
    Streams streams;
    // At most so many are to be read.
    int64_t items = limits::kBacklogPage;
  };
  using Groups = std::vector<Group>;

  void Run();
  // Blocks until there is something; empty after Stop.
  Streams TakeBatch() ABSL_LOCKS_EXCLUDED(mutex_);
  void PutBack(const Groups& groups) ABSL_LOCKS_EXCLUDED(mutex_);
  static Groups GroupByRequest(const Streams& streams);
  // Those for which there is more to read than the head; all of them if it can't be read.
  Groups WithoutUpToDate(Groups groups);
  // As many as one query may read.
  static Groups TakePack(Groups& groups);
  void Read(const Groups& groups, Backoff* backoff);
  void HandleFailure(const absl::Status& status, const Groups& groups, Backoff* backoff);
  void Finish(const Group& group, const Backlog& backlog);

  FeedStore& store_;
  const int thread_count_;
  const Act act_;
  StopSignal stop_;

  absl::Mutex mutex_;
  std::deque<std::shared_ptr<LiveStream>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace carillon
