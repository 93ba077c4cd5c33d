// The live streams of this process: who is connected, and how changes reach them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/metrics.h"
#include "server/feed/backlog_reader.h"
#include "server/feed/live_stream.h"
#include "server/feed/stream_waker.h"

namespace carillon {

// Every stream gets each change of its feed after after_seq once, in the order of
// seq, without a gap (see live_stream.h). A stream is registered for live events,
// here and with those who publish them, before its backlog is read, so nothing
// falls between the two. Hints may be lost, late or doubled: a sweep compares the
// heads of all connected recipients with the store, so that a change arrives
// within two seconds without any hint.
//
// When the store is down, streams stay open and catch up afterwards.
//
// Thread-safe. Streams that were opened must be closed before it is destroyed.
class LiveHub {
 public:
  struct Options {
    // With the reads themselves, two seconds in all.
    absl::Duration sweep_interval = absl::Milliseconds(1750);
    // How often the streams' permits are asked.
    absl::Duration permit_interval = absl::Seconds(2);
    LiveStream::Timing timing;
    int reader_threads = 2;
    int waker_threads = 2;
    size_t max_streams = limits::kMaxStreams;
    // Public feeds have no such bound.
    size_t max_streams_per_recipient = limits::kMaxStreamsPerRecipient;
    // Told of every stream. It must announce nothing any more when the hub is
    // destroyed. Null: hints come anyway.
    Presence* presence = nullptr;
  };

  // The store, the metrics and the presence must outlive it.
  LiveHub(FeedStore& store, Metrics& metrics, Options options);
  ~LiveHub() { Stop(); }

  void Start();
  // Ends all streams with error::Draining, takes no more and returns when none of
  // its threads runs. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Fails with error::TooManyStreams or error::Draining. The sink is woken when
  // there is something to take, at first after a Take that gave nothing. `user`: the end
  // user who asks, if it is one: of topics' feeds each may have so many as of their own.
  absl::StatusOr<std::shared_ptr<LiveStream>> Open(FeedKey key, int64_t after_seq, std::shared_ptr<StreamSink> sink,
                                                   StreamPermit permit = nullptr,
                                                   const std::optional<std::string>& user = std::nullopt)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The stream's next step; nullopt if there is none now. Does not block.
  std::optional<StreamStep> Take(const std::shared_ptr<LiveStream>& stream);
  // Lets go of the stream and its sink. Once for each stream that was opened.
  void Close(const std::shared_ptr<LiveStream>& stream) ABSL_LOCKS_EXCLUDED(mutex_);

  // A hint from another process, or from this one after a commit. Does not block.
  void OnLiveMessage(const LiveMessage& message) ABSL_LOCKS_EXCLUDED(mutex_);
  // Sweeps as soon as may be: hints have been lost. Does not block.
  void SweepNow() ABSL_LOCKS_EXCLUDED(mutex_);
  // The app has a new event that is stored once: looks at its recipients as soon
  // as may be, for many events at a time. Does not block.
  void OnSharedEvent(AppId app) ABSL_LOCKS_EXCLUDED(mutex_);

  size_t stream_count() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Streams = absl::InlinedVector<std::shared_ptr<LiveStream>, 1>;
  // Whose feeds a sweep looks at.
  struct SweepScope {
    bool everyone = false;
    absl::flat_hash_set<AppId> apps;
  };

  absl::Status Register(const std::shared_ptr<LiveStream>& stream, const std::optional<std::string>& user)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Of topics' feeds, by end users.
  absl::Status CountForUser(const LiveStream& stream, const std::string& user) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetForUser(const LiveStream& stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False if it is not registered.
  bool Unregister(const std::shared_ptr<LiveStream>& stream) ABSL_LOCKS_EXCLUDED(mutex_);
  // Does what a stream wants. Under no lock.
  void Act(const std::shared_ptr<LiveStream>& stream, LiveStream::Wants wants);
  Streams StreamsOf(const FeedKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  Streams AllStreams() const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<FeedKey> ConnectedRecipients(const SweepScope& scope) const ABSL_LOCKS_EXCLUDED(mutex_);

  void RunSweeps();
  // Until something is due; nullopt after Stop.
  std::optional<SweepScope> WaitForSweep(MonotonicTime next_of_everyone) ABSL_LOCKS_EXCLUDED(mutex_);
  void Sweep(const SweepScope& scope);
  void RunTicks();
  // Ends those that may not go on.
  void AskPermits(const Streams& streams);

  FeedStore& store_;
  const Options options_;
  StreamWaker waker_;
  BacklogReader reader_;
  StopSignal stop_;

  prometheus::Gauge& streams_gauge_;
  prometheus::Gauge& presence_gauge_;
  prometheus::Counter& events_counter_;
  prometheus::Counter& wanted_counter_;
  prometheus::Counter& found_by_sweep_counter_;
  prometheus::Counter& malformed_hints_counter_;
  prometheus::Counter& slow_clients_counter_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<FeedKey, Streams> streams_ ABSL_GUARDED_BY(mutex_);
  size_t stream_count_ ABSL_GUARDED_BY(mutex_) = 0;
  using User = std::pair<AppId, std::string>;
  absl::flat_hash_map<User, size_t> topic_streams_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<const LiveStream*, User> users_ ABSL_GUARDED_BY(mutex_);
  SweepScope requested_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread sweep_thread_;
  std::thread tick_thread_;
};

}  // namespace carillon
