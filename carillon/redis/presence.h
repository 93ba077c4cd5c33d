// Tells in Redis which feeds this server holds streams of.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "carillon/domain/backoff.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/live_bus.h"
#include "carillon/redis/connection.h"
#include "carillon/redis/options.h"

namespace carillon {

// Writes the server's field of each feed's hash (channels.h) on one thread and one
// connection, many in a round trip. What is written expires unless it is written
// again, which goes on all the time, a part of the feeds at each turn; so a hash
// that Redis has lost is soon back. After a reconnect all are written at once.
//
// A server's id is of one process: a field that it removes can only be its own.
//
// Thread-safe. Holds an entry per feed that has a stream.
class RedisPresence final : public Presence {
 public:
  struct Options {
    std::string server;
    // Longer than a refresh and the clocks of two machines may differ.
    absl::Duration ttl = absl::Seconds(60);
    // Within which every entry is written again.
    absl::Duration refresh_interval = absl::Seconds(20);
    // What a stream waits at most for Redis.
    absl::Duration announce_limit = absl::Milliseconds(200);
  };

  // The clock must outlive it.
  RedisPresence(RedisOptions redis, const Clock& clock, Options options);
  ~RedisPresence() override { Stop(); }

  void Start();
  // Writes what is still to be written, briefly. Afterwards Add announces at once,
  // on the caller's thread. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  void Add(const FeedKey& key, std::function<void()> announced) override ABSL_LOCKS_EXCLUDED(mutex_);
  void Remove(const FeedKey& key) override ABSL_LOCKS_EXCLUDED(mutex_);

  // Feeds with a stream.
  size_t size() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Each is refreshed in one turn.
  static constexpr size_t kShards = 20;
  using Shard = absl::flat_hash_map<FeedKey, int>;  // Streams of each feed.

  struct Change {
    FeedKey key;
    std::function<void()> announced;  // May be empty.
  };

  static size_t ShardOf(const FeedKey& key);

  void Run();
  // False when it is time to stop and nothing is left to do.
  bool WaitForWork() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Duration TimeToNextTurn() const;
  std::vector<Change> TakeChanges() ABSL_LOCKS_EXCLUDED(mutex_);
  void WriteChanges();
  void Reconnect();
  void Refresh();
  std::vector<FeedKey> KeysOf(size_t shard) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes what holds for them now, however often it has changed. Drops the
  // connection if it fails.
  void Write(absl::Span<const FeedKey> keys);
  absl::Status WriteOnce(absl::Span<const FeedKey> keys, RedisDeadline deadline);
  std::vector<bool> ArePresent(absl::Span<const FeedKey> keys) const ABSL_LOCKS_EXCLUDED(mutex_);

  const RedisOptions redis_;
  const Clock& clock_;
  const Options options_;

  mutable absl::Mutex mutex_;
  std::array<Shard, kShards> shards_ ABSL_GUARDED_BY(mutex_);
  std::deque<Change> changes_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;

  // The thread's own.
  std::optional<RedisConnection> connection_;
  Backoff backoff_;
  RedisDeadline next_attempt_ = RedisDeadline::After(absl::ZeroDuration());
  // Of the shard whose turn it is, what is still to be written.
  std::vector<FeedKey> to_refresh_;
  size_t next_shard_ = 0;
  // Shards that are written without waiting for their turn.
  size_t overdue_shards_ = 0;
  RedisDeadline next_turn_ = RedisDeadline::After(absl::ZeroDuration());
};

}  // namespace carillon
