// A FeedStore in memory that keeps the promises of carillon/ports/feed_store.h
// towards live streams, and can be slow, or down.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/feed_store.h"

namespace carillon::testing {

// Thread-safe.
class InMemoryFeedStore final : public FeedStore {
 public:
  explicit InMemoryFeedStore(size_t page = limits::kBacklogPage) : page_(page) {}

  // A new item with the next number.
  FeedItem Append(const FeedKey& key) {
    absl::MutexLock lock(&mutex_);
    Feed& feed = feeds_[key];
    FeedItem item;
    item.id = NewUuid7(absl::UnixEpoch());
    item.seq = ++feed.head.last_seq;
    item.type = "like";
    item.title = absl::StrCat("item ", item.seq);
    item.create_time = absl::UnixEpoch();
    ++feed.head.unread;
    feed.items[item.seq] = item;
    return item;
  }

  // Changes the oldest item in place: it gets the next number, its old one is gone.
  std::optional<FeedItem> Supersede(const FeedKey& key) {
    absl::MutexLock lock(&mutex_);
    Feed& feed = feeds_[key];
    if (feed.items.empty()) return std::nullopt;
    FeedItem item = feed.items.begin()->second;
    feed.items.erase(feed.items.begin());
    item.seq = ++feed.head.last_seq;
    feed.items[item.seq] = item;
    return item;
  }

  // Takes the items up to a number, as retention does.
  void Expire(const FeedKey& key, int64_t up_to) {
    absl::MutexLock lock(&mutex_);
    Feed& feed = feeds_[key];
    feed.items.erase(feed.items.begin(), feed.items.upper_bound(up_to));
    feed.head.floor_seq = up_to;
  }

  // Back to an empty feed, as another database would be.
  void Forget(const FeedKey& key) {
    absl::MutexLock lock(&mutex_);
    feeds_.erase(key);
  }

  // Numbers of the items and of the newest marker above a number.
  std::vector<int64_t> NumbersAfter(const FeedKey& key, int64_t after) {
    absl::MutexLock lock(&mutex_);
    const Feed& feed = feeds_[key];
    std::vector<int64_t> numbers;
    for (auto item = feed.items.upper_bound(after); item != feed.items.end(); ++item) numbers.push_back(item->first);
    if (feed.marker.seq > after) numbers.push_back(feed.marker.seq);
    std::sort(numbers.begin(), numbers.end());
    return numbers;
  }

  void SetFailure(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    failure_ = std::move(status);
  }
  // While blocked, reads hold back what they have read.
  void SetBlocked(bool blocked) {
    absl::MutexLock lock(&mutex_);
    blocked_ = blocked;
  }
  int backlog_reads() const {
    absl::MutexLock lock(&mutex_);
    return backlog_reads_;
  }
  int list_reads() const {
    absl::MutexLock lock(&mutex_);
    return list_reads_;
  }
  // Recipients whose heads were read, each time that they were.
  int heads_read() const {
    absl::MutexLock lock(&mutex_);
    return heads_read_;
  }
  int backlog_requests() const {
    absl::MutexLock lock(&mutex_);
    return backlog_requests_;
  }

  absl::StatusOr<std::vector<Backlog>> ReadBacklogs(absl::Span<const BacklogRequest> requests) override {
    absl::MutexLock lock(&mutex_);
    ++backlog_reads_;
    backlog_requests_ += static_cast<int>(requests.size());
    if (!failure_.ok()) return failure_;
    std::vector<Backlog> backlogs;
    for (const BacklogRequest& request : requests) backlogs.push_back(ReadBacklog(request));
    AwaitUnblocked();
    return backlogs;
  }

  absl::StatusOr<FeedHead> Summarize(const FeedKey& key) override {
    absl::StatusOr<std::vector<FeedHead>> heads = ReadHeads({key});
    if (!heads.ok()) return heads.status();
    return heads->front();
  }

  absl::StatusOr<std::vector<FeedHead>> ReadHeads(absl::Span<const FeedKey> keys) override {
    absl::MutexLock lock(&mutex_);
    heads_read_ += static_cast<int>(keys.size());
    if (!failure_.ok()) return failure_;
    std::vector<FeedHead> heads;
    for (const FeedKey& key : keys) heads.push_back(feeds_[key].head);
    AwaitUnblocked();
    return heads;
  }

  absl::StatusOr<MarkReadResult> MarkReadUpTo(const FeedKey& key, int64_t up_to_seq) override {
    absl::MutexLock lock(&mutex_);
    Feed& feed = feeds_[key];
    up_to_seq = std::min(up_to_seq, feed.head.last_seq);
    if (up_to_seq <= feed.head.last_read_seq) return MarkReadResult{.head = feed.head, .marker = std::nullopt};
    feed.head.last_read_seq = up_to_seq;
    feed.head.unread = std::distance(feed.items.upper_bound(up_to_seq), feed.items.end());
    feed.head.marker_seq = ++feed.head.last_seq;
    feed.marker = {.seq = feed.head.marker_seq, .up_to_seq = up_to_seq, .ids = {}, .unread = feed.head.unread};
    return MarkReadResult{.head = feed.head, .marker = feed.marker};
  }

  absl::StatusOr<std::vector<DeliveryOutcome>> Deliver(absl::Span<const FeedDelivery>) override {
    return error::Internal("not part of this model");
  }
  absl::StatusOr<std::vector<FeedItem>> List(const ListQuery& query) override {
    absl::MutexLock lock(&mutex_);
    ++list_reads_;
    if (!failure_.ok()) return failure_;
    const Feed& feed = feeds_[query.key];
    std::vector<FeedItem> items;
    for (auto item = feed.items.rbegin(); item != feed.items.rend(); ++item) {
      if (items.size() == static_cast<size_t>(query.limit)) break;
      if (query.before_seq.has_value() && item->first >= *query.before_seq) continue;
      items.push_back(item->second);
      items.back().read = item->first <= feed.head.last_read_seq;
      if (query.unread_only && items.back().read) items.pop_back();
    }
    AwaitUnblocked();
    return items;
  }
  absl::StatusOr<MarkReadResult> MarkReadItems(const FeedKey&, absl::Span<const NotificationId>) override {
    return error::Internal("not part of this model");
  }

 private:
  struct Feed {
    FeedHead head;
    std::map<int64_t, FeedItem> items;
    ReadMarker marker;
  };

  void AwaitUnblocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto unblocked = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !blocked_; };
    mutex_.Await(absl::Condition(&unblocked));
  }

  Backlog ReadBacklog(const BacklogRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Feed& feed = feeds_[request.key];
    Backlog backlog;
    backlog.head = feed.head;
    backlog.complete_up_to = feed.head.last_seq;
    for (auto item = feed.items.upper_bound(request.after_seq); item != feed.items.end(); ++item) {
      if (backlog.items.size() == page_) {
        backlog.complete_up_to = backlog.items.back().seq;
        break;
      }
      backlog.items.push_back(item->second);
    }
    if (feed.marker.seq > request.after_seq) backlog.marker = feed.marker;
    return backlog;
  }

  const size_t page_;
  mutable absl::Mutex mutex_;
  std::map<FeedKey, Feed> feeds_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  int backlog_reads_ ABSL_GUARDED_BY(mutex_) = 0;
  int list_reads_ ABSL_GUARDED_BY(mutex_) = 0;
  int heads_read_ ABSL_GUARDED_BY(mutex_) = 0;
  int backlog_requests_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace carillon::testing
