#include "server/feed/live_hub.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/event.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/feed_event.h"

namespace carillon {
namespace {

constexpr size_t kHeadsInOneRead = 1000;
constexpr absl::Duration kRetryWhenFull = absl::Seconds(5);
// Between two looks for shared events: a burst of them is one or two.
constexpr absl::Duration kSharedEventPause = absl::Milliseconds(100);

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

// Often enough for the shortest of a stream's intervals.
absl::Duration TickInterval(const LiveStream::Timing& timing) {
  const absl::Duration shortest =
      std::min({timing.heartbeat_interval, timing.slow_client_grace, timing.abandoned_after}) / 4;
  return std::clamp(shortest, absl::Milliseconds(5), absl::Milliseconds(500));
}

}  // namespace

LiveHub::LiveHub(FeedStore& store, Metrics& metrics, Options options)
    : store_(store),
      options_(std::move(options)),
      waker_(options_.waker_threads),
      reader_(store, options_.reader_threads,
              [this](const std::shared_ptr<LiveStream>& stream, LiveStream::Wants wants) { Act(stream, wants); }),
      streams_gauge_(metrics.Gauge("carillon_live_streams", "Open live streams.")),
      presence_gauge_(metrics.Gauge("carillon_presence_entries", "Feeds that have a live stream here.")),
      events_counter_(metrics.Counter("carillon_live_events_total", "Events handed to live streams.")),
      wanted_counter_(
          metrics.Counter("carillon_live_messages_wanted_total", "Live updates for a feed that has a stream here.")),
      found_by_sweep_counter_(metrics.Counter("carillon_live_found_by_sweep_total",
                                              "Feeds that the sweep found ahead of a stream: lost or late hints.")),
      malformed_hints_counter_(
          metrics.Counter("carillon_live_malformed_hints_total", "Wake-ups that could not be read.")),
      slow_clients_counter_(
          metrics.Counter("carillon_live_slow_clients_total", "Streams ended because the client read too slowly.")) {}

void LiveHub::Start() {
  waker_.Start();
  reader_.Start();
  sweep_thread_ = std::thread([this] { RunSweeps(); });
  tick_thread_ = std::thread([this] { RunTicks(); });
}

void LiveHub::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    stopped_ = true;
  }
  for (const std::shared_ptr<LiveStream>& stream : AllStreams()) Act(stream, stream->End(error::Draining()));
  stop_.Set();
  if (sweep_thread_.joinable()) sweep_thread_.join();
  if (tick_thread_.joinable()) tick_thread_.join();
  reader_.Stop();
  waker_.Stop();
}

absl::StatusOr<std::shared_ptr<LiveStream>> LiveHub::Open(FeedKey key, int64_t after_seq,
                                                          std::shared_ptr<StreamSink> sink, StreamPermit permit,
                                                          const std::optional<std::string>& user) {
  auto stream =
      std::make_shared<LiveStream>(std::move(key), after_seq, options_.timing, std::move(sink), std::move(permit));
  RETURN_IF_ERROR(Register(stream, user));
  streams_gauge_.Increment();
  const auto start = [this, stream] { Act(stream, stream->Start()); };
  if (options_.presence == nullptr) {
    start();
  } else {
    options_.presence->Add(stream->key(), start);
  }
  return stream;
}

absl::Status LiveHub::Register(const std::shared_ptr<LiveStream>& stream, const std::optional<std::string>& user) {
  absl::MutexLock lock(&mutex_);
  if (stopped_) return error::Draining();
  if (stream_count_ >= options_.max_streams) return error::TooManyStreams("server", kRetryWhenFull);
  if (IsTopicFeed(stream->key())) {
    if (user.has_value()) RETURN_IF_ERROR(CountForUser(*stream, *user));
  } else if (const auto same = streams_.find(stream->key());
             same != streams_.end() && same->second.size() >= options_.max_streams_per_recipient) {
    return error::TooManyStreams("recipient", kRetryWhenFull);
  }
  streams_[stream->key()].push_back(stream);
  ++stream_count_;
  presence_gauge_.Set(static_cast<double>(streams_.size()));
  return absl::OkStatus();
}

absl::Status LiveHub::CountForUser(const LiveStream& stream, const std::string& user) {
  const User whose(stream.key().app, user);
  size_t& count = topic_streams_[whose];
  if (count >= options_.max_streams_per_recipient) return error::TooManyStreams("user", kRetryWhenFull);
  ++count;
  users_.emplace(&stream, whose);
  return absl::OkStatus();
}

void LiveHub::ForgetForUser(const LiveStream& stream) {
  const auto found = users_.find(&stream);
  if (found == users_.end()) return;
  const auto counted = topic_streams_.find(found->second);
  if (--counted->second == 0) topic_streams_.erase(counted);
  users_.erase(found);
}

std::optional<StreamStep> LiveHub::Take(const std::shared_ptr<LiveStream>& stream) {
  auto [step, wants] = stream->Take();
  Act(stream, wants);
  if (step.has_value() && step->message != nullptr) events_counter_.Increment();
  return std::move(step);
}

void LiveHub::Close(const std::shared_ptr<LiveStream>& stream) {
  stream->Close();
  if (!Unregister(stream)) return;
  streams_gauge_.Decrement();
  if (options_.presence != nullptr) options_.presence->Remove(stream->key());
}

bool LiveHub::Unregister(const std::shared_ptr<LiveStream>& stream) {
  absl::MutexLock lock(&mutex_);
  const auto recipient = streams_.find(stream->key());
  if (recipient == streams_.end()) return false;
  Streams& streams = recipient->second;
  const auto found = std::find(streams.begin(), streams.end(), stream);
  if (found == streams.end()) return false;
  std::swap(*found, streams.back());
  streams.pop_back();
  if (streams.empty()) streams_.erase(recipient);
  --stream_count_;
  ForgetForUser(*stream);
  presence_gauge_.Set(static_cast<double>(streams_.size()));
  return true;
}

void LiveHub::OnLiveMessage(const LiveMessage& message) {
  // Most messages are for recipients of other servers: those are not even parsed.
  const Streams streams = StreamsOf(message.key);
  if (streams.empty()) return;
  wanted_counter_.Increment();
  const absl::StatusOr<LiveUpdate> update = DecodeLiveUpdate(message.payload);
  if (!update.ok()) {
    malformed_hints_counter_.Increment();
    return;
  }
  for (const std::shared_ptr<LiveStream>& stream : streams) {
    Act(stream, stream->OfferEvents(update->events, update->last_seq));
  }
}

void LiveHub::SweepNow() {
  absl::MutexLock lock(&mutex_);
  requested_.everyone = true;
}

void LiveHub::OnSharedEvent(AppId app) {
  absl::MutexLock lock(&mutex_);
  requested_.apps.insert(app);
}

size_t LiveHub::stream_count() const {
  absl::MutexLock lock(&mutex_);
  return stream_count_;
}

void LiveHub::Act(const std::shared_ptr<LiveStream>& stream, LiveStream::Wants wants) {
  if (wants.read) reader_.Enqueue(stream);
  if (!wants.wake && !wants.abandon) return;
  std::shared_ptr<StreamSink> sink = stream->sink();
  if (sink == nullptr) return;
  if (wants.abandon) sink->OnAbandoned();
  if (wants.wake) waker_.Wake(std::move(sink));
}

LiveHub::Streams LiveHub::StreamsOf(const FeedKey& key) const {
  absl::MutexLock lock(&mutex_);
  const auto recipient = streams_.find(key);
  return recipient == streams_.end() ? Streams() : recipient->second;
}

LiveHub::Streams LiveHub::AllStreams() const {
  absl::MutexLock lock(&mutex_);
  Streams all;
  all.reserve(stream_count_);
  for (const auto& [key, streams] : streams_) all.insert(all.end(), streams.begin(), streams.end());
  return all;
}

std::vector<FeedKey> LiveHub::ConnectedRecipients(const SweepScope& scope) const {
  absl::MutexLock lock(&mutex_);
  std::vector<FeedKey> keys;
  keys.reserve(streams_.size());
  for (const auto& [key, streams] : streams_) {
    if (scope.everyone || scope.apps.contains(key.app)) keys.push_back(key);
  }
  return keys;
}

void LiveHub::RunSweeps() {
  MonotonicTime next_of_everyone = Now() + absl::ToChronoNanoseconds(options_.sweep_interval);
  while (const std::optional<SweepScope> scope = WaitForSweep(next_of_everyone)) {
    Sweep(*scope);
    if (scope->everyone) {
      next_of_everyone = Now() + absl::ToChronoNanoseconds(options_.sweep_interval);
    } else {
      stop_.WaitFor(kSharedEventPause);
    }
  }
}

std::optional<LiveHub::SweepScope> LiveHub::WaitForSweep(MonotonicTime next_of_everyone) {
  absl::MutexLock lock(&mutex_);
  const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopped_ || requested_.everyone || !requested_.apps.empty();
  };
  mutex_.AwaitWithTimeout(absl::Condition(&due), absl::FromChrono(next_of_everyone - Now()));
  if (stopped_) return std::nullopt;
  SweepScope scope = std::exchange(requested_, {});
  scope.everyone = scope.everyone || Now() >= next_of_everyone;
  return scope;
}

void LiveHub::Sweep(const SweepScope& scope) {
  const std::vector<FeedKey> keys = ConnectedRecipients(scope);
  for (size_t begin = 0; begin < keys.size() && !stop_.is_set(); begin += kHeadsInOneRead) {
    const absl::Span<const FeedKey> chunk = absl::MakeConstSpan(keys).subspan(begin, kHeadsInOneRead);
    const absl::StatusOr<std::vector<FeedHead>> heads = store_.ReadHeads(chunk);
    if (!heads.ok()) {
      // The next sweep tries again.
      log::Warn("live.sweep_failed", {{"error", heads.status()}});
      return;
    }
    for (size_t i = 0; i < chunk.size(); ++i) {
      for (const std::shared_ptr<LiveStream>& stream : StreamsOf(chunk[i])) {
        const LiveStream::Wants wants = stream->OfferHead((*heads)[i]);
        if (wants.read && scope.everyone) found_by_sweep_counter_.Increment();
        Act(stream, wants);
      }
    }
  }
}

void LiveHub::RunTicks() {
  const absl::Duration interval = std::min(TickInterval(options_.timing), options_.permit_interval);
  MonotonicTime permits_asked = Now();
  while (!stop_.WaitFor(interval)) {
    const MonotonicTime now = Now();
    const Streams streams = AllStreams();
    if (absl::FromChrono(now - permits_asked) >= options_.permit_interval) {
      permits_asked = now;
      AskPermits(streams);
    }
    for (const std::shared_ptr<LiveStream>& stream : streams) {
      const LiveStream::Wants wants = stream->Tick(now);
      if (wants.slow) slow_clients_counter_.Increment();
      Act(stream, wants);
    }
  }
}

void LiveHub::AskPermits(const Streams& streams) {
  for (const std::shared_ptr<LiveStream>& stream : streams) {
    if (stream->permit() == nullptr || stream->closed()) continue;
    if (const absl::Status permitted = stream->permit()(); !permitted.ok()) Act(stream, stream->End(permitted));
  }
}

}  // namespace carillon
