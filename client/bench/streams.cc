#include "client/bench/streams.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "client/bench/send_requests.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// A server that comes back is met again soon, as a patient user would not.
constexpr absl::Duration kMaxBackoff = absl::Seconds(2);
constexpr absl::Duration kLookInterval = absl::Milliseconds(5);

int64_t Position(const StreamRecord& record) {
  int64_t position = record.skipped.empty() ? 0 : record.skipped.back().last;
  if (!record.arrivals.empty()) position = std::max(position, record.arrivals.back().seq);
  return position;
}

}  // namespace

LiveStreams::LiveStreams(Client& client, const std::vector<std::string>& user_ids, RawSender* raw) : client_(client) {
  {
    absl::MutexLock lock(&mutex_);
    for (const std::string& user_id : user_ids) records_[user_id];
  }
  for (const std::string& user_id : user_ids) {
    raw == nullptr ? Subscribe(user_id) : raw->Subscribe(user_id, RawCallbacksFor(user_id));
  }
}

LiveStreams::~LiveStreams() = default;

// Looks from time to time: a condition of the lock would be asked at each arrival.
bool LiveStreams::WaitUntilPassed(absl::flat_hash_map<std::string, int64_t> last_seqs, absl::Duration timeout) {
  const absl::Duration deadline = MonotonicNow() + timeout;
  while (true) {
    DropPassed(last_seqs);
    if (last_seqs.empty()) return true;
    if (MonotonicNow() >= deadline) return false;
    absl::SleepFor(kLookInterval);
  }
}

absl::flat_hash_map<std::string, absl::Duration> LiveStreams::WaitForArrivals(
    absl::flat_hash_set<std::string> notification_ids, absl::Duration timeout) {
  const absl::Duration deadline = MonotonicNow() + timeout;
  absl::flat_hash_map<std::string, absl::Duration> arrivals;
  absl::flat_hash_map<std::string, size_t> looked_at;
  while (true) {
    TakeArrivals(looked_at, notification_ids, arrivals);
    if (notification_ids.empty() || MonotonicNow() >= deadline) return arrivals;
    absl::SleepFor(kLookInterval);
  }
}

// Goes on from where it was in each record.
void LiveStreams::TakeArrivals(absl::flat_hash_map<std::string, size_t>& looked_at,
                               absl::flat_hash_set<std::string>& missing,
                               absl::flat_hash_map<std::string, absl::Duration>& arrivals) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [user_id, record] : records_) {
    size_t& next = looked_at[user_id];
    for (; next < record.arrivals.size(); ++next) {
      const StreamRecord::Arrival& arrival = record.arrivals[next];
      if (missing.erase(arrival.notification_id) > 0) arrivals.emplace(arrival.notification_id, arrival.arrived);
    }
  }
}

absl::Duration LiveStreams::last_arrival() const {
  absl::MutexLock lock(&mutex_);
  return last_arrival_;
}

// Ends at the first that is behind.
void LiveStreams::DropPassed(absl::flat_hash_map<std::string, int64_t>& last_seqs) const {
  absl::MutexLock lock(&mutex_);
  while (!last_seqs.empty()) {
    const auto first = last_seqs.begin();
    if (Position(records_.at(first->first)) < first->second) return;
    last_seqs.erase(first);
  }
}

absl::flat_hash_map<std::string, StreamRecord> LiveStreams::records() const {
  absl::MutexLock lock(&mutex_);
  return records_;
}

int64_t LiveStreams::disconnects() const {
  absl::MutexLock lock(&mutex_);
  return disconnects_;
}

absl::Status LiveStreams::ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

// Goes on after what has been seen.
void LiveStreams::Subscribe(const std::string& user_id) {
  FeedSubscription::Options options;
  options.user_id = user_id;
  options.max_backoff = kMaxBackoff;
  {
    absl::MutexLock lock(&mutex_);
    options.after_seq = Position(records_[user_id]);
  }
  absl::MutexLock lock(&subscriptions_mutex_);
  subscriptions_.push_back(client_.Subscribe(std::move(options), CallbacksFor(user_id)));
}

RawSender::StreamCallbacks LiveStreams::RawCallbacksFor(const std::string& user_id) {
  RawSender::StreamCallbacks callbacks;
  callbacks.on_event = [this, user_id](absl::string_view bytes) {
    const absl::StatusOr<StreamEvent> event = ParseStreamEvent(bytes);
    if (!event.ok()) return OnDisconnect(event.status(), /*for_good=*/true);
    if (!event->notification_id.empty()) OnItem(user_id, event->notification_id, event->seq);
  };
  callbacks.on_end = [this, user_id](const absl::Status& status) {
    OnDisconnect(status, /*for_good=*/false);
    Subscribe(user_id);
  };
  return callbacks;
}

FeedSubscription::Callbacks LiveStreams::CallbacksFor(const std::string& user_id) {
  FeedSubscription::Callbacks callbacks;
  callbacks.on_event = [this, user_id](const v1::SubscribeResponse& event) {
    if (event.has_item()) OnItem(user_id, event.item().notification_id(), event.seq());
  };
  callbacks.on_disconnect = [this](const absl::Status& status, std::optional<absl::Duration> retry_in) {
    OnDisconnect(status, !retry_in.has_value());
  };
  callbacks.on_resume = [this, user_id](int64_t last_seq) { return OnResume(user_id, last_seq); };
  return callbacks;
}

void LiveStreams::OnItem(const std::string& user_id, absl::string_view notification_id, int64_t seq) {
  const absl::Duration now = MonotonicNow();
  absl::MutexLock lock(&mutex_);
  last_arrival_ = now;
  records_[user_id].arrivals.push_back({std::string(notification_id), seq, now});
}

void LiveStreams::OnDisconnect(const absl::Status& status, bool for_good) {
  absl::MutexLock lock(&mutex_);
  ++disconnects_;
  if (for_good) ended_.Update(status);
}

int64_t LiveStreams::OnResume(const std::string& user_id, int64_t last_seq) {
  absl::MutexLock lock(&mutex_);
  StreamRecord& record = records_[user_id];
  const int64_t position = Position(record);
  if (last_seq > position) record.skipped.push_back({position + 1, last_seq});
  return last_seq;
}

}  // namespace carillon::bench
