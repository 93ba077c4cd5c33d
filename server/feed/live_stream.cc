#include "server/feed/live_stream.h"

#include "server/feed/feed_events.h"

namespace carillon {
namespace {

// Large items: a stream may hold fewer events than limits.h allows.
constexpr size_t kStreamBufferBytes = 4 * 1024 * 1024;

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

absl::Duration Between(MonotonicTime from, MonotonicTime to) { return absl::FromChrono(to - from); }

}  // namespace

LiveStream::LiveStream(FeedKey key, int64_t after_seq, const Timing& timing, std::shared_ptr<StreamSink> sink,
                       StreamPermit permit)
    : key_(std::move(key)),
      timing_(timing),
      permit_(std::move(permit)),
      sink_(std::move(sink)),
      position_(after_seq),
      target_(after_seq),
      taken_(after_seq),
      last_activity_(Now()) {}

std::shared_ptr<StreamSink> LiveStream::sink() const {
  absl::MutexLock lock(&mutex_);
  return sink_;
}

LiveStream::Wants LiveStream::Start() {
  absl::MutexLock lock(&mutex_);
  started_ = true;
  return SettleLocked();
}

LiveStream::Wants LiveStream::OfferEvents(absl::Span<const FeedEvent> events, int64_t last_seq) {
  absl::MutexLock lock(&mutex_);
  if (end_.has_value()) return {};
  for (const FeedEvent& event : events) {
    target_ = std::max(target_, event.seq);
    if (event.seq != position_ + 1 || !started_from_store_ || FullLocked()) continue;
    buffer_.Push(event);
    position_ = event.seq;
  }
  target_ = std::max(target_, last_seq);
  return SettleLocked();
}

LiveStream::Wants LiveStream::OfferHead(const FeedHead& head) {
  absl::MutexLock lock(&mutex_);
  if (end_.has_value()) return {};
  target_ = std::max(target_, head.last_seq);
  // Something is stored for this feed that has no number yet: a read gives it one.
  if (head.behind) unconfirmed_ = true;
  // Mostly a head that was read just before the last event; else another database.
  if (head.last_seq < position_) unconfirmed_ = true;
  return SettleLocked();
}

std::optional<int64_t> LiveStream::BeginRead() {
  absl::MutexLock lock(&mutex_);
  if (end_.has_value()) return std::nullopt;
  target_at_read_ = target_;
  return position_;
}

LiveStream::Wants LiveStream::FinishRead(int64_t read_from, const Backlog& backlog,
                                         absl::Span<const FeedEvent> events) {
  absl::MutexLock lock(&mutex_);
  read_pending_ = false;
  if (end_.has_value()) return {};
  const FeedHead& head = backlog.head;
  if (read_from > head.last_seq) {
    RequireResumeLocked(head.last_seq, v1::ResumeRequired::CAUSE_UNKNOWN_SEQ);
  } else if (!started_from_store_ && read_from > 0 && read_from < head.floor_seq) {
    RequireResumeLocked(read_from, v1::ResumeRequired::CAUSE_RETENTION);
  } else {
    unconfirmed_ = false;
    started_from_store_ = true;
    target_ = std::max(target_, head.last_seq);
    const bool all_fitted = AppendBacklogLocked(backlog, events);
    // A hint from before the read that named more than there is was wrong.
    const bool read_all = all_fitted && backlog.complete_up_to >= head.last_seq;
    if (read_all && target_ == target_at_read_) target_ = position_;
    if (position_ >= target_) was_up_to_date_ = true;
  }
  return SettleLocked();
}

LiveStream::Wants LiveStream::Tick(MonotonicTime now) {
  absl::MutexLock lock(&mutex_);
  if (end_.has_value()) {
    const bool abandon = !abandoned_ && Between(last_activity_, now) >= timing_.abandoned_after;
    abandoned_ = abandoned_ || abandon;
    return {.abandon = abandon};
  }
  if (full_since_.has_value() && Between(*full_since_, now) >= timing_.slow_client_grace) {
    RequireResumeLocked(taken_, v1::ResumeRequired::CAUSE_SLOW_CLIENT);
    Wants wants = SettleLocked();
    wants.slow = true;
    return wants;
  }
  if (buffer_.empty() && Between(last_activity_, now) >= timing_.heartbeat_interval) {
    buffer_.Push(EncodeHeartbeat(position_));
  }
  return SettleLocked();
}

LiveStream::Wants LiveStream::End(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  if (!end_.has_value()) EndLocked(std::move(status));
  return SettleLocked();
}

std::pair<std::optional<StreamStep>, LiveStream::Wants> LiveStream::Take() {
  absl::MutexLock lock(&mutex_);
  if (buffer_.empty()) {
    if (end_.has_value()) return {StreamStep{.message = nullptr, .status = *end_}, {}};
    waiting_ = true;
    return {std::nullopt, SettleLocked()};
  }
  FeedEvent event = buffer_.Pop();
  taken_ = event.seq;
  last_activity_ = Now();
  return {StreamStep{.message = std::move(event.message), .status = {}}, SettleLocked()};
}

void LiveStream::Close() {
  absl::MutexLock lock(&mutex_);
  if (!end_.has_value()) EndLocked(absl::CancelledError("closed"));
  sink_.reset();
}

bool LiveStream::closed() const {
  absl::MutexLock lock(&mutex_);
  return sink_ == nullptr;
}

bool LiveStream::BehindLocked() const { return unconfirmed_ || target_ > position_; }

bool LiveStream::FullLocked() const {
  return buffer_.size() >= limits::kStreamBufferEvents || buffer_.bytes() >= kStreamBufferBytes;
}

bool LiveStream::HasRoomForPageLocked() const {
  return buffer_.size() + limits::kBacklogPage <= limits::kStreamBufferEvents &&
         buffer_.bytes() <= kStreamBufferBytes / 2;
}

bool LiveStream::AppendBacklogLocked(const Backlog& backlog, absl::Span<const FeedEvent> events) {
  for (const FeedEvent& event : events) {
    if (event.seq <= position_) continue;
    if (FullLocked()) return false;
    buffer_.Push(event);
    position_ = event.seq;
  }
  position_ = std::max(position_, backlog.complete_up_to);
  return true;
}

void LiveStream::RequireResumeLocked(int64_t seq, v1::ResumeRequired::Cause cause) {
  EndLocked(absl::OkStatus());
  buffer_.Push(EncodeResumeRequired(seq, cause));
}

void LiveStream::EndLocked(absl::Status status) {
  end_ = std::move(status);
  buffer_.Clear();
  last_activity_ = Now();
}

LiveStream::Wants LiveStream::SettleLocked() {
  Wants wants;
  if (waiting_ && (!buffer_.empty() || end_.has_value())) {
    waiting_ = false;
    wants.wake = true;
  }
  if (end_.has_value()) return wants;
  if (!BehindLocked() || HasRoomForPageLocked()) {
    full_since_.reset();
  } else if (was_up_to_date_ && !full_since_.has_value()) {
    full_since_ = Now();
  }
  if (started_ && BehindLocked() && HasRoomForPageLocked() && !read_pending_) {
    read_pending_ = true;
    wants.read = true;
  }
  return wants;
}

}  // namespace carillon
