// Thousands of live streams over a few connections, counted and timed, but not kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/bench/raw_sender.h"
#include "client/carillon/retry_policy.h"
#include "client/carillon/timer.h"

namespace carillon::bench {

// What one stream's items say about it. Every item's seq must be the next. Not thread-safe.
struct StreamTally {
  int64_t last_seq = 0;
  int64_t items = 0;
  int64_t gaps = 0;      // Times at which numbers were left out.
  int64_t disorder = 0;  // Items whose number had been passed.

  void Count(int64_t seq);
};

// A stream that breaks is opened again after a while, as the client library does
// it: from where it was, with full jitter. Thread-safe.
class StreamFleet {
 public:
  // A stream for each feed; none is opened yet.
  StreamFleet(const ClientOptions& client, int connections, std::vector<RawSender::Feed> feeds);
  ~StreamFleet();

  // Opens those that are not open, from where they were.
  void Open();
  // Breaks all, and returns when they are. They stay so.
  void Close();

  // From here on each stream's items are counted anew, and timed if their object ids
  // are stamped. With `object_id` only those about it count.
  void BeginRound(const std::string& object_id = "");
  // Of all rounds and streams.
  int64_t items() const { return items_.load(std::memory_order_relaxed); }
  // False: it took too long.
  bool WaitForItems(int64_t items, absl::Duration timeout) const;
  // Waits until each stream has so many in this round.
  bool WaitForEach(int64_t items, absl::Duration timeout) const;
  // Streams that have exactly, or more than, so many.
  int64_t CountWith(int64_t items) const;
  int64_t CountWithMore(int64_t items) const;
  // Of each stream that has an item, when the newest came, by MonotonicNow.
  std::vector<absl::Duration> Arrivals() const;
  // From the stamps to the arrivals.
  std::vector<absl::Duration> Times() const;

  // Since it was made; last_seq says nothing.
  StreamTally Total() const;
  // How streams ended that we did not end, by the name of the code.
  std::map<std::string, int64_t> ends() const;

 private:
  struct Stream {
    RawSender::Feed feed;
    StreamTally tally;
    JitteredBackoff backoff;
    bool open = false;
    int64_t round_items = 0;
    absl::Duration arrived;
  };
  // What one thread reads.
  struct Shard {
    Shard(const ClientOptions& client, int connections) : sender(client, connections) {}

    mutable absl::Mutex mutex;
    std::vector<Stream> streams ABSL_GUARDED_BY(mutex);
    std::vector<absl::Duration> times ABSL_GUARDED_BY(mutex);
    std::map<std::string, int64_t> ends ABSL_GUARDED_BY(mutex);
    int64_t malformed ABSL_GUARDED_BY(mutex) = 0;
    std::string object_id ABSL_GUARDED_BY(mutex);
    bool wanted ABSL_GUARDED_BY(mutex) = false;
    RawSender sender;
  };

  void OpenOne(Shard& shard, size_t index);
  void OnEvent(Shard& shard, size_t index, absl::string_view bytes);
  void OnEnd(Shard& shard, size_t index, const absl::Status& status);
  bool WaitUntil(const std::function<bool()>& reached, absl::Duration timeout) const;
  template <typename Matches>
  int64_t CountStreams(Matches matches) const;

  std::atomic<int64_t> items_ = 0;
  std::vector<std::unique_ptr<Shard>> shards_;
  // Last, so that it ends before what its tasks use.
  Timer timer_;
};

}  // namespace carillon::bench
