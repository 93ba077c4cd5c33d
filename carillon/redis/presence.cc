#include "carillon/redis/presence.h"

#include <algorithm>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/redis/channels.h"

namespace carillon {
namespace {

// Feeds in one round trip: a fraction of a millisecond of Redis' time.
constexpr size_t kChunk = 500;
constexpr absl::Duration kBackoffBase = absl::Milliseconds(100);
constexpr absl::Duration kBackoffMax = absl::Seconds(2);

}  // namespace

RedisPresence::RedisPresence(RedisOptions redis, const Clock& clock, Options options)
    : redis_(std::move(redis)), clock_(clock), options_(std::move(options)), backoff_(kBackoffBase, kBackoffMax) {}

void RedisPresence::Start() {
  thread_ = std::thread([this] { Run(); });
}

void RedisPresence::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void RedisPresence::Add(const FeedKey& key, std::function<void()> announced) {
  {
    absl::MutexLock lock(&mutex_);
    ++shards_[ShardOf(key)][key];
    if (!stopped_) {
      changes_.push_back({.key = key, .announced = std::move(announced)});
      return;
    }
  }
  announced();
}

void RedisPresence::Remove(const FeedKey& key) {
  absl::MutexLock lock(&mutex_);
  Shard& shard = shards_[ShardOf(key)];
  const auto entry = shard.find(key);
  if (entry == shard.end() || --entry->second > 0) return;
  shard.erase(entry);
  if (!stopped_) changes_.push_back({.key = key, .announced = nullptr});
}

size_t RedisPresence::size() const {
  absl::MutexLock lock(&mutex_);
  size_t size = 0;
  for (const Shard& shard : shards_) size += shard.size();
  return size;
}

size_t RedisPresence::ShardOf(const FeedKey& key) { return absl::Hash<FeedKey>()(key) % kShards; }

void RedisPresence::Run() {
  Reconnect();
  while (WaitForWork()) {
    WriteChanges();
    if (connection_.has_value()) {
      Refresh();
    } else {
      Reconnect();
    }
  }
}

bool RedisPresence::WaitForWork() {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || !changes_.empty(); };
  mutex_.AwaitWithTimeout(absl::Condition(&ready), TimeToNextTurn());
  return !stopped_ || !changes_.empty();
}

absl::Duration RedisPresence::TimeToNextTurn() const {
  if (!connection_.has_value()) return next_attempt_.remaining();
  if (!to_refresh_.empty() || overdue_shards_ > 0) return absl::ZeroDuration();
  return next_turn_.remaining();
}

std::vector<RedisPresence::Change> RedisPresence::TakeChanges() {
  absl::MutexLock lock(&mutex_);
  const size_t count = std::min(changes_.size(), kChunk);
  std::vector<Change> taken(std::move_iterator(changes_.begin()), std::move_iterator(changes_.begin() + count));
  changes_.erase(changes_.begin(), changes_.begin() + count);
  return taken;
}

// While Redis is away nobody waits for it, and nothing is kept but the entries:
// they are all written when it is back.
void RedisPresence::WriteChanges() {
  const std::vector<Change> changes = TakeChanges();
  std::vector<FeedKey> keys;
  for (const Change& change : changes) keys.push_back(change.key);
  if (connection_.has_value() && !keys.empty()) Write(keys);
  for (const Change& change : changes) {
    if (change.announced) change.announced();
  }
}

void RedisPresence::Reconnect() {
  if (!next_attempt_.passed()) return;
  absl::StatusOr<RedisConnection> connection =
      RedisConnection::Open(redis_, RedisDeadline::After(options_.announce_limit));
  if (!connection.ok()) {
    next_attempt_ = RedisDeadline::After(backoff_.Next());
    return;
  }
  backoff_.Reset();
  connection_ = *std::move(connection);
  overdue_shards_ = kShards;
}

void RedisPresence::Refresh() {
  if (to_refresh_.empty()) {
    if (overdue_shards_ > 0) {
      --overdue_shards_;
    } else if (next_turn_.passed()) {
      next_turn_ = RedisDeadline::After(options_.refresh_interval / kShards);
    } else {
      return;
    }
    to_refresh_ = KeysOf(next_shard_);
    next_shard_ = (next_shard_ + 1) % kShards;
  }
  const size_t count = std::min(to_refresh_.size(), kChunk);
  const size_t rest = to_refresh_.size() - count;
  Write(absl::MakeConstSpan(to_refresh_).subspan(rest));
  to_refresh_.resize(rest);
}

std::vector<FeedKey> RedisPresence::KeysOf(size_t shard) const {
  absl::MutexLock lock(&mutex_);
  std::vector<FeedKey> keys;
  keys.reserve(shards_[shard].size());
  for (const auto& [key, streams] : shards_[shard]) keys.push_back(key);
  return keys;
}

void RedisPresence::Write(absl::Span<const FeedKey> keys) {
  const absl::Status status = WriteOnce(keys, RedisDeadline::After(options_.announce_limit));
  // What Redis refuses (it is loading, or full) is tried again at the next turn.
  if (status.ok() || absl::IsFailedPrecondition(status)) return;
  connection_.reset();
  to_refresh_.clear();
  next_attempt_ = RedisDeadline::After(backoff_.Next());
}

absl::Status RedisPresence::WriteOnce(absl::Span<const FeedKey> keys, RedisDeadline deadline) {
  const std::string expiry = absl::StrCat(absl::ToUnixMillis(clock_.Now() + options_.ttl));
  const std::string ttl = absl::StrCat(absl::ToInt64Milliseconds(options_.ttl));
  const std::vector<bool> present = ArePresent(keys);
  // Also of nothing: it shows whether Redis is still there.
  RETURN_IF_ERROR(connection_->Append({"PING"}));
  size_t commands = 1;
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string key = PresenceKey(keys[i]);
    if (present[i]) {
      RETURN_IF_ERROR(connection_->Append({"HSET", key, options_.server, expiry}));
      RETURN_IF_ERROR(connection_->Append({"PEXPIRE", key, ttl}));
      commands += 2;
    } else {
      RETURN_IF_ERROR(connection_->Append({"HDEL", key, options_.server}));
      ++commands;
    }
  }
  RETURN_IF_ERROR(connection_->Flush(deadline));
  return connection_->ReadAndDrop(commands, deadline);
}

std::vector<bool> RedisPresence::ArePresent(absl::Span<const FeedKey> keys) const {
  absl::MutexLock lock(&mutex_);
  std::vector<bool> present;
  present.reserve(keys.size());
  for (const FeedKey& key : keys) present.push_back(shards_[ShardOf(key)].contains(key));
  return present;
}

}  // namespace carillon
