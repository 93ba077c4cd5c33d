#include "client/bench/stream_fleet.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "client/bench/send_requests.h"

namespace carillon::bench {
namespace {

// The generator shares the machine with what it measures: more threads would only
// wake each other.
constexpr int kShards = 2;
constexpr absl::Duration kInitialBackoff = absl::Milliseconds(100);
constexpr absl::Duration kMaxBackoff = absl::Seconds(5);
constexpr absl::Duration kLook = absl::Milliseconds(2);
constexpr absl::Duration kCloseTimeout = absl::Seconds(60);

}  // namespace

void StreamTally::Count(int64_t seq) {
  ++items;
  if (seq <= last_seq) {
    ++disorder;
    return;
  }
  if (seq > last_seq + 1) ++gaps;
  last_seq = seq;
}

StreamFleet::StreamFleet(const ClientOptions& client, int connections, std::vector<RawSender::Feed> feeds) {
  const int shards = std::min(kShards, connections);
  for (int i = 0; i < shards; ++i) {
    shards_.push_back(std::make_unique<Shard>(client, (connections + i) / shards));
  }
  for (size_t i = 0; i < feeds.size(); ++i) {
    Shard& shard = *shards_[i % shards_.size()];
    absl::MutexLock lock(&shard.mutex);
    const int64_t after = feeds[i].after_seq;
    shard.streams.push_back({.feed = std::move(feeds[i]),
                             .tally = {.last_seq = after},
                             .backoff = JitteredBackoff(kInitialBackoff, kMaxBackoff)});
  }
}

// Tasks of the timer find the senders stopped then.
StreamFleet::~StreamFleet() {
  for (const auto& shard : shards_) shard->sender.EndStreams();
}

void StreamFleet::Open() {
  for (const auto& shard : shards_) {
    size_t streams = 0;
    {
      absl::MutexLock lock(&shard->mutex);
      shard->wanted = true;
      streams = shard->streams.size();
    }
    for (size_t i = 0; i < streams; ++i) OpenOne(*shard, i);
  }
}

void StreamFleet::Close() {
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->mutex);
    shard->wanted = false;
  }
  for (const auto& shard : shards_) shard->sender.CancelStreams();
  WaitUntil([this] { return CountStreams([](const Stream& stream) { return stream.open; }) == 0; }, kCloseTimeout);
}

void StreamFleet::BeginRound(const std::string& object_id) {
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->mutex);
    shard->times.clear();
    shard->object_id = object_id;
    for (Stream& stream : shard->streams) {
      stream.round_items = 0;
      stream.arrived = absl::ZeroDuration();
    }
  }
}

bool StreamFleet::WaitForItems(int64_t items, absl::Duration timeout) const {
  return WaitUntil([&] { return this->items() >= items; }, timeout);
}

bool StreamFleet::WaitForEach(int64_t items, absl::Duration timeout) const {
  return WaitUntil([&] { return CountStreams([&](const Stream& one) { return one.round_items < items; }) == 0; },
                   timeout);
}

int64_t StreamFleet::CountWith(int64_t items) const {
  return CountStreams([&](const Stream& stream) { return stream.round_items == items; });
}

int64_t StreamFleet::CountWithMore(int64_t items) const {
  return CountStreams([&](const Stream& stream) { return stream.round_items > items; });
}

std::vector<absl::Duration> StreamFleet::Arrivals() const {
  std::vector<absl::Duration> arrivals;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->mutex);
    for (const Stream& stream : shard->streams) {
      if (stream.round_items > 0) arrivals.push_back(stream.arrived);
    }
  }
  return arrivals;
}

std::vector<absl::Duration> StreamFleet::Times() const {
  std::vector<absl::Duration> times;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->mutex);
    times.insert(times.end(), shard->times.begin(), shard->times.end());
  }
  return times;
}

StreamTally StreamFleet::Total() const {
  StreamTally total;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->mutex);
    total.disorder += shard->malformed;
    for (const Stream& stream : shard->streams) {
      total.items += stream.tally.items;
      total.gaps += stream.tally.gaps;
      total.disorder += stream.tally.disorder;
    }
  }
  return total;
}

std::map<std::string, int64_t> StreamFleet::ends() const {
  std::map<std::string, int64_t> all;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->mutex);
    for (const auto& [code, count] : shard->ends) all[code] += count;
  }
  return all;
}

void StreamFleet::OpenOne(Shard& shard, size_t index) {
  RawSender::Feed feed;
  {
    absl::MutexLock lock(&shard.mutex);
    Stream& stream = shard.streams[index];
    if (!shard.wanted || stream.open) return;
    stream.open = true;
    feed = stream.feed;
    feed.after_seq = stream.tally.last_seq;
  }
  shard.sender.Subscribe(
      feed, {.on_event = [this, &shard, index](absl::string_view bytes) { OnEvent(shard, index, bytes); },
             .on_end = [this, &shard, index](const absl::Status& status) { OnEnd(shard, index, status); }});
}

void StreamFleet::OnEvent(Shard& shard, size_t index, absl::string_view bytes) {
  const absl::Duration now = MonotonicNow();
  const absl::StatusOr<StreamEvent> event = ParseStreamEvent(bytes);
  absl::MutexLock lock(&shard.mutex);
  if (!event.ok()) {
    ++shard.malformed;
    return;
  }
  Stream& stream = shard.streams[index];
  stream.backoff.Reset();
  if (event->notification_id.empty()) return;
  stream.tally.Count(event->seq);
  if (!shard.object_id.empty() && event->object_id != shard.object_id) return;
  ++stream.round_items;
  stream.arrived = now;
  if (const std::optional<absl::Duration> stamp = StampOf(event->object_id)) shard.times.push_back(now - *stamp);
  items_.fetch_add(1, std::memory_order_relaxed);
}

void StreamFleet::OnEnd(Shard& shard, size_t index, const absl::Status& status) {
  absl::Duration delay;
  {
    absl::MutexLock lock(&shard.mutex);
    shard.streams[index].open = false;
    if (!shard.wanted) return;
    ++shard.ends[absl::StatusCodeToString(status.code())];
    delay = shard.streams[index].backoff.Next();
  }
  timer_.Schedule(delay, [this, &shard, index] { OpenOne(shard, index); });
}

bool StreamFleet::WaitUntil(const std::function<bool()>& reached, absl::Duration timeout) const {
  const absl::Duration deadline = MonotonicNow() + timeout;
  while (!reached()) {
    if (MonotonicNow() >= deadline) return false;
    absl::SleepFor(kLook);
  }
  return true;
}

template <typename Matches>
int64_t StreamFleet::CountStreams(Matches matches) const {
  int64_t count = 0;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->mutex);
    count += std::count_if(shard->streams.begin(), shard->streams.end(), matches);
  }
  return count;
}

}  // namespace carillon::bench
