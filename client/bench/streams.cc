#include "client/bench/streams.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// A server that comes back is met again soon, as a patient user would not.
constexpr absl::Duration kMaxBackoff = absl::Seconds(2);

int64_t Position(const StreamRecord& record) {
  int64_t position = record.skipped.empty() ? 0 : record.skipped.back().last;
  if (!record.arrivals.empty()) position = std::max(position, record.arrivals.back().seq);
  return position;
}

}  // namespace

LiveStreams::LiveStreams(Client& client, const std::vector<std::string>& user_ids) {
  {
    absl::MutexLock lock(&mutex_);
    for (const std::string& user_id : user_ids) records_[user_id];
  }
  for (const std::string& user_id : user_ids) {
    FeedSubscription::Options options;
    options.user_id = user_id;
    options.max_backoff = kMaxBackoff;
    subscriptions_.push_back(client.Subscribe(std::move(options), CallbacksFor(user_id)));
  }
}

LiveStreams::~LiveStreams() = default;

bool LiveStreams::WaitUntilPassed(const absl::flat_hash_map<std::string, int64_t>& last_seqs, absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto passed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::all_of(last_seqs.begin(), last_seqs.end(), [&](const auto& last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return Position(records_.at(last.first)) >= last.second;
    });
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&passed), timeout);
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

FeedSubscription::Callbacks LiveStreams::CallbacksFor(const std::string& user_id) {
  FeedSubscription::Callbacks callbacks;
  callbacks.on_event = [this, user_id](const v1::SubscribeResponse& event) {
    if (event.has_item()) OnItem(user_id, event);
  };
  callbacks.on_disconnect = [this](const absl::Status& status, std::optional<absl::Duration> retry_in) {
    OnDisconnect(status, !retry_in.has_value());
  };
  callbacks.on_resume = [this, user_id](int64_t last_seq) { return OnResume(user_id, last_seq); };
  return callbacks;
}

void LiveStreams::OnItem(const std::string& user_id, const v1::SubscribeResponse& event) {
  const absl::Duration now = MonotonicNow();
  absl::MutexLock lock(&mutex_);
  records_[user_id].arrivals.push_back({event.item().notification_id(), event.seq(), now});
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
