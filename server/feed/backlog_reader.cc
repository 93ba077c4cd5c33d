#include "server/feed/backlog_reader.h"

#include "absl/container/flat_hash_map.h"
#include "carillon/domain/errors.h"
#include "carillon/runtime/logging.h"
#include "server/feed/feed_events.h"

namespace carillon {
namespace {

// Streams taken at a time: one look at their heads.
constexpr size_t kBatchStreams = 1000;
// Fewer are read at once.
constexpr size_t kHeadsFirst = 16;
// Of one query: feeds, which it may have to lock, and items, some ten megabytes of
// ordinary ones.
constexpr size_t kPackRequests = 200;
constexpr int64_t kPackItems = 64 * limits::kBacklogPage;
constexpr absl::Duration kBackoffBase = absl::Milliseconds(100);
constexpr absl::Duration kBackoffMax = absl::Seconds(1);

}  // namespace

BacklogReader::BacklogReader(FeedStore& store, int threads, Act act)
    : store_(store), thread_count_(threads), act_(std::move(act)) {}

void BacklogReader::Start() {
  for (int i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { Run(); });
}

void BacklogReader::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    stopped_ = true;
    queue_.clear();
  }
  stop_.Set();
  for (std::thread& thread : threads_) thread.join();
}

void BacklogReader::Enqueue(std::shared_ptr<LiveStream> stream) {
  absl::MutexLock lock(&mutex_);
  if (!stopped_) queue_.push_back(std::move(stream));
}

void BacklogReader::Run() {
  Backoff backoff(kBackoffBase, kBackoffMax);
  while (!stop_.is_set()) {
    Groups groups = WithoutUpToDate(GroupByRequest(TakeBatch()));
    while (!groups.empty() && !stop_.is_set()) Read(TakePack(groups), &backoff);
  }
}

BacklogReader::Streams BacklogReader::TakeBatch() {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || !queue_.empty(); };
  mutex_.Await(absl::Condition(&ready));
  Streams batch;
  while (!queue_.empty() && batch.size() < kBatchStreams) {
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return batch;
}

void BacklogReader::PutBack(const Groups& groups) {
  absl::MutexLock lock(&mutex_);
  if (stopped_) return;
  // Clients that gave up during an outage must not pile up here.
  std::erase_if(queue_, [](const std::shared_ptr<LiveStream>& stream) { return stream->closed(); });
  for (const Group& group : groups) {
    queue_.insert(queue_.begin(), group.streams.begin(), group.streams.end());
  }
}

BacklogReader::Groups BacklogReader::GroupByRequest(const Streams& streams) {
  Groups groups;
  absl::flat_hash_map<std::pair<FeedKey, int64_t>, size_t> index;
  for (const std::shared_ptr<LiveStream>& stream : streams) {
    const std::optional<int64_t> position = stream->BeginRead();
    if (!position.has_value()) continue;
    const auto [entry, is_new] = index.try_emplace({stream->key(), *position}, groups.size());
    if (is_new) groups.push_back({.request = {.key = stream->key(), .after_seq = *position}, .streams = {}});
    groups[entry->second].streams.push_back(stream);
  }
  return groups;
}

BacklogReader::Groups BacklogReader::WithoutUpToDate(Groups groups) {
  if (groups.size() < kHeadsFirst) return groups;
  std::vector<FeedKey> keys;
  keys.reserve(groups.size());
  for (const Group& group : groups) keys.push_back(group.request.key);
  const absl::StatusOr<std::vector<FeedHead>> heads = store_.ReadHeads(keys);
  if (!heads.ok()) return groups;
  Groups others;
  for (size_t i = 0; i < groups.size(); ++i) {
    const FeedHead& head = (*heads)[i];
    const int64_t missing = head.last_seq - groups[i].request.after_seq;
    if (missing > 0 || head.behind) {
      groups[i].items = std::clamp<int64_t>(missing, 1, limits::kBacklogPage);
      others.push_back(std::move(groups[i]));
    } else {
      Finish(groups[i], {.head = head, .complete_up_to = head.last_seq});
    }
  }
  return others;
}

BacklogReader::Groups BacklogReader::TakePack(Groups& groups) {
  Groups pack;
  int64_t items = 0;
  while (!groups.empty() && pack.size() < kPackRequests && items + groups.back().items <= kPackItems) {
    items += groups.back().items;
    pack.push_back(std::move(groups.back()));
    groups.pop_back();
  }
  return pack;
}

void BacklogReader::Read(const Groups& groups, Backoff* backoff) {
  std::vector<BacklogRequest> requests;
  requests.reserve(groups.size());
  for (const Group& group : groups) requests.push_back(group.request);
  const absl::StatusOr<std::vector<Backlog>> backlogs = store_.ReadBacklogs(requests);
  if (!backlogs.ok()) return HandleFailure(backlogs.status(), groups, backoff);
  backoff->Reset();
  for (size_t i = 0; i < groups.size(); ++i) Finish(groups[i], (*backlogs)[i]);
}

void BacklogReader::HandleFailure(const absl::Status& status, const Groups& groups, Backoff* backoff) {
  if (IsInfrastructureFailure(status)) {
    if (backoff->failures() == 0) log::Warn("live.backlog_unavailable", {{"error", status}});
    PutBack(groups);
    stop_.WaitFor(backoff->Next());
  } else if (groups.size() > 1) {
    // One of them is at fault; the others must not suffer.
    for (const Group& group : groups) Read({group}, backoff);
  } else {
    log::Error("live.backlog_failed", {{"error", status}});
    for (const std::shared_ptr<LiveStream>& stream : groups.front().streams) act_(stream, stream->End(status));
  }
}

void BacklogReader::Finish(const Group& group, const Backlog& backlog) {
  const std::vector<FeedEvent> events = EncodeBacklog(backlog);
  for (const std::shared_ptr<LiveStream>& stream : group.streams) {
    act_(stream, stream->FinishRead(group.request.after_seq, backlog, events));
  }
}

}  // namespace carillon
