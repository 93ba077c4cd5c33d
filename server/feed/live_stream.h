// One client's stream of a feed: where it stands, and what waits to be sent.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/feed_store.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/wire/feed_event.h"
#include "server/feed/event_buffer.h"

namespace carillon {

using MonotonicTime = std::chrono::steady_clock::time_point;

// The end of a stream that takes what is sent. Called on any thread, never under a
// lock of the hub's; must not block.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  // There is something to take.
  virtual void OnReady() = 0;
  // The stream has ended, but for long its last event has not been taken.
  virtual void OnAbandoned() = 0;
};

// Whether a stream may go on: asked now and then, on one of the hub's threads and under
// no lock; what it fails with ends the stream. Must not block. Null: always.
using StreamPermit = std::function<absl::Status()>;

// What a stream gives out: an event, or its end.
struct StreamStep {
  // A serialised carillon.v1.SubscribeResponse. Null: the stream ends with status.
  std::shared_ptr<const std::string> message;
  absl::Status status;
};

// Merges what the store says with live hints, by seq: each change once, in order,
// none left out.
//
// - position is the number up to which everything has been put into the buffer, or
//   is gone for good. An event with the next number is appended at once; a higher
//   one only tells that the stream is behind, and a read of the store closes the gap.
// - The buffer is bounded. What does not fit is read from the store when there is
//   room again; so memory does not grow, and a burst ends no stream. A client that
//   was up to date and then leaves the buffer full for longer than a grace period
//   gets resume_required.
// - One read of a stream is under way at a time.
//
// Thread-safe. It calls nobody: what must happen next is returned as Wants.
class LiveStream {
 public:
  struct Timing {
    absl::Duration heartbeat_interval = absl::Seconds(15);
    absl::Duration slow_client_grace = absl::Seconds(3);
    // After the end.
    absl::Duration abandoned_after = absl::Seconds(30);
  };

  // What the caller has to do, after it has let go of its locks.
  struct Wants {
    bool wake = false;     // Call the sink's OnReady.
    bool read = false;     // Have the backlog read; then FinishRead or End.
    bool abandon = false;  // Call the sink's OnAbandoned.
    bool slow = false;     // Count it: the client has just been found too slow.
  };

  // The timing must outlive it.
  LiveStream(FeedKey key, int64_t after_seq, const Timing& timing, std::shared_ptr<StreamSink> sink,
             StreamPermit permit = nullptr);

  const FeedKey& key() const { return key_; }
  const StreamPermit& permit() const { return permit_; }
  // Null after Close.
  std::shared_ptr<StreamSink> sink() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Asks for the first read: from here on nothing escapes the stream.
  Wants Start() ABSL_LOCKS_EXCLUDED(mutex_);
  // Live events, by seq; last_seq is known to exist.
  Wants OfferEvents(absl::Span<const FeedEvent> events, int64_t last_seq) ABSL_LOCKS_EXCLUDED(mutex_);
  // What a look at the feed's head found.
  Wants OfferHead(const FeedHead& head) ABSL_LOCKS_EXCLUDED(mutex_);

  // Where to read from; nullopt if nobody needs it any more.
  std::optional<int64_t> BeginRead() ABSL_LOCKS_EXCLUDED(mutex_);
  // The answer to a read from read_from; events are those of EncodeBacklog.
  Wants FinishRead(int64_t read_from, const Backlog& backlog, absl::Span<const FeedEvent> events)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Heartbeats, slow and abandoned clients.
  Wants Tick(MonotonicTime now) ABSL_LOCKS_EXCLUDED(mutex_);
  // What is buffered is dropped: the client resumes by its seq.
  Wants End(absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_);

  // The next step, and what draining makes possible. Without one, the sink is woken
  // when there is.
  std::pair<std::optional<StreamStep>, Wants> Take() ABSL_LOCKS_EXCLUDED(mutex_);
  // The client is gone.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

  bool closed() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool BehindLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool FullLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasRoomForPageLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Appends what is new; false if not all of it fitted.
  bool AppendBacklogLocked(const Backlog& backlog, absl::Span<const FeedEvent> events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RequireResumeLocked(int64_t seq, v1::ResumeRequired::Cause cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndLocked(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // After every change: what is to be done now.
  Wants SettleLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const FeedKey key_;
  const Timing& timing_;
  const StreamPermit permit_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<StreamSink> sink_ ABSL_GUARDED_BY(mutex_);
  int64_t position_ ABSL_GUARDED_BY(mutex_);
  // The highest number that is said to exist.
  int64_t target_ ABSL_GUARDED_BY(mutex_);
  int64_t target_at_read_ ABSL_GUARDED_BY(mutex_) = 0;
  // The last number that was taken.
  int64_t taken_ ABSL_GUARDED_BY(mutex_);
  // The store must confirm position_: at the start, and when a head contradicts it.
  bool unconfirmed_ ABSL_GUARDED_BY(mutex_) = true;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool started_from_store_ ABSL_GUARDED_BY(mutex_) = false;
  bool was_up_to_date_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_pending_ ABSL_GUARDED_BY(mutex_) = false;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
  EventBuffer buffer_ ABSL_GUARDED_BY(mutex_);
  std::optional<MonotonicTime> full_since_ ABSL_GUARDED_BY(mutex_);
  MonotonicTime last_activity_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace carillon
