#include "server/feed/live_hub.h"

#include "carillon/domain/errors.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/feed_event.h"

namespace carillon {
namespace {

constexpr size_t kHeadsInOneRead = 1000;
constexpr absl::Duration kRetryWhenFull = absl::Seconds(5);

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
      reader_(store, options_.reader_threads,
              [this](const std::shared_ptr<LiveStream>& stream, LiveStream::Wants wants) { Act(stream, wants); }),
      streams_gauge_(metrics.Gauge("carillon_live_streams", "Open live streams.")),
      events_counter_(metrics.Counter("carillon_live_events_total", "Events handed to live streams.")),
      found_by_sweep_counter_(metrics.Counter("carillon_live_found_by_sweep_total",
                                              "Feeds that the sweep found ahead of a stream: lost or late hints.")),
      malformed_hints_counter_(
          metrics.Counter("carillon_live_malformed_hints_total", "Wake-ups that could not be read.")),
      slow_clients_counter_(
          metrics.Counter("carillon_live_slow_clients_total", "Streams ended because the client read too slowly.")) {}

void LiveHub::Start() {
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
}

absl::StatusOr<std::shared_ptr<LiveStream>> LiveHub::Open(FeedKey key, int64_t after_seq,
                                                          std::shared_ptr<StreamSink> sink) {
  auto stream = std::make_shared<LiveStream>(key, after_seq, options_.timing, std::move(sink));
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return error::Draining();
    if (stream_count_ >= options_.max_streams) return error::TooManyStreams("server", kRetryWhenFull);
    const auto recipient = streams_.find(key);
    if (recipient != streams_.end() && recipient->second.size() >= options_.max_streams_per_recipient) {
      return error::TooManyStreams("recipient", kRetryWhenFull);
    }
    streams_[std::move(key)].push_back(stream);
    ++stream_count_;
  }
  streams_gauge_.Increment();
  Act(stream, stream->Start());
  return stream;
}

std::optional<StreamStep> LiveHub::Take(const std::shared_ptr<LiveStream>& stream) {
  auto [step, wants] = stream->Take();
  Act(stream, wants);
  if (step.has_value() && step->message != nullptr) events_counter_.Increment();
  return std::move(step);
}

void LiveHub::Close(const std::shared_ptr<LiveStream>& stream) {
  stream->Close();
  {
    absl::MutexLock lock(&mutex_);
    const auto recipient = streams_.find(stream->key());
    if (recipient == streams_.end() || std::erase(recipient->second, stream) == 0) return;
    if (recipient->second.empty()) streams_.erase(recipient);
    --stream_count_;
  }
  streams_gauge_.Decrement();
}

void LiveHub::OnLiveMessage(const LiveMessage& message) {
  // Most messages are for recipients of other servers: those are not even parsed.
  const Streams streams = StreamsOf(message.key);
  if (streams.empty()) return;
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
  sweep_requested_ = true;
}

size_t LiveHub::stream_count() const {
  absl::MutexLock lock(&mutex_);
  return stream_count_;
}

void LiveHub::Act(const std::shared_ptr<LiveStream>& stream, LiveStream::Wants wants) {
  if (wants.read) reader_.Enqueue(stream);
  if (!wants.wake && !wants.abandon) return;
  const std::shared_ptr<StreamSink> sink = stream->sink();
  if (sink == nullptr) return;
  if (wants.wake) sink->OnReady();
  if (wants.abandon) sink->OnAbandoned();
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

std::vector<FeedKey> LiveHub::ConnectedRecipients() const {
  absl::MutexLock lock(&mutex_);
  std::vector<FeedKey> keys;
  keys.reserve(streams_.size());
  for (const auto& [key, streams] : streams_) keys.push_back(key);
  return keys;
}

void LiveHub::RunSweeps() {
  while (WaitForSweep()) Sweep();
}

bool LiveHub::WaitForSweep() {
  absl::MutexLock lock(&mutex_);
  const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || sweep_requested_; };
  mutex_.AwaitWithTimeout(absl::Condition(&due), options_.sweep_interval);
  sweep_requested_ = false;
  return !stopped_;
}

void LiveHub::Sweep() {
  const std::vector<FeedKey> keys = ConnectedRecipients();
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
        if (wants.read) found_by_sweep_counter_.Increment();
        Act(stream, wants);
      }
    }
  }
}

void LiveHub::RunTicks() {
  while (!stop_.WaitFor(TickInterval(options_.timing))) {
    const MonotonicTime now = std::chrono::steady_clock::now();
    for (const std::shared_ptr<LiveStream>& stream : AllStreams()) {
      const LiveStream::Wants wants = stream->Tick(now);
      if (wants.slow) slow_clients_counter_.Increment();
      Act(stream, wants);
    }
  }
}

}  // namespace carillon
