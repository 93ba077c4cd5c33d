#include "server/feed/shared_reads.h"

#include <algorithm>
#include <utility>

#include "carillon/domain/errors.h"

namespace carillon {
namespace {

constexpr absl::Duration kRetryWhenFull = absl::Milliseconds(200);
constexpr char kReadsName[] = "carillon_feed_reads_total";
constexpr char kReadsHelp[] = "Feed reads answered, by whether they had a query of their own.";

absl::Status Full() { return error::Overloaded("the queue of this server", kRetryWhenFull); }

}  // namespace

SharedReads::SharedReads(const std::string& feed, Options options, Executor& executor, const Clock& clock,
                         Metrics& metrics)
    : options_(options),
      executor_(executor),
      clock_(clock),
      queries_counter_(metrics.Counter("carillon_feed_queries_total", "Looks at the store that feed reads led to.",
                                       {{"feed", feed}})),
      from_query_counter_(metrics.Counter(kReadsName, kReadsHelp, {{"feed", feed}, {"source", "query"}})),
      joined_counter_(metrics.Counter(kReadsName, kReadsHelp, {{"feed", feed}, {"source", "joined"}})),
      from_cache_counter_(metrics.Counter(kReadsName, kReadsHelp, {{"feed", feed}, {"source", "cache"}})),
      cache_(options.cache_entries, options.cache_bytes) {}

void SharedReads::Ask(const std::string& key, Read read, Waiter waiter) {
  const absl::Time now = clock_.Now();
  Admission admission = Admission::kWaits;
  SharedBytes cached;
  {
    absl::MutexLock lock(&mutex_);
    cached = cache_.Find(key, now);
    if (cached == nullptr) admission = Admit(key, read, waiter);
  }
  if (cached != nullptr) {
    from_cache_counter_.Increment();
    return waiter.done(cached);
  }
  if (admission == Admission::kRefused) waiter.done(Full());
  if (admission == Admission::kLaunch) Launch(key);
}

SharedReads::Admission SharedReads::Admit(const std::string& key, Read& read, Waiter& waiter) {
  if (waiter_count_ >= options_.max_waiters) return Admission::kRefused;
  ++waiter_count_;
  Entry& entry = entries_[key];
  const bool opens = entry.next == nullptr;
  if (opens) {
    entry.next = std::make_unique<Flight>();
    entry.next->read = std::move(read);
  }
  entry.next->waiters.push_back(std::move(waiter));
  return opens && !entry.under_way ? Admission::kLaunch : Admission::kWaits;
}

void SharedReads::Launch(const std::string& key) {
  if (executor_.Submit([this, key] { Run(key); })) return;
  Waiters refused;
  {
    absl::MutexLock lock(&mutex_);
    refused = TakeNext(entries_.at(key));
    entries_.erase(key);
  }
  for (Waiter& waiter : refused) waiter.done(Full());
}

void SharedReads::Run(const std::string& key) {
  const std::unique_ptr<Flight> flight = Begin(key);
  const absl::Time began = clock_.Now();
  absl::StatusOr<SharedBytes> answer = error::DeadlineExceeded();
  const auto is_gone = [](const Waiter& waiter) { return waiter.is_gone(); };
  if (!std::all_of(flight->waiters.begin(), flight->waiters.end(), is_gone)) {
    absl::StatusOr<std::string> read = flight->read();
    answer = read.ok() ? absl::StatusOr<SharedBytes>(std::make_shared<const std::string>(*std::move(read)))
                       : absl::StatusOr<SharedBytes>(read.status());
    queries_counter_.Increment();
    from_query_counter_.Increment();
  }
  const bool another = End(key, answer, began, flight->waiters);
  joined_counter_.Increment(static_cast<double>(flight->waiters.size() - 1));
  if (another) Launch(key);
  // Last: who waited may let go of all this.
  for (Waiter& waiter : flight->waiters) waiter.done(answer);
}

std::unique_ptr<SharedReads::Flight> SharedReads::Begin(const std::string& key) {
  absl::MutexLock lock(&mutex_);
  Entry& entry = entries_.at(key);
  entry.under_way = true;
  return std::exchange(entry.next, nullptr);
}

bool SharedReads::End(const std::string& key, const absl::StatusOr<SharedBytes>& answer, absl::Time began,
                      Waiters& waiters) {
  const absl::Time now = clock_.Now();
  const absl::Time until = began + options_.max_age;
  absl::MutexLock lock(&mutex_);
  waiter_count_ -= waiters.size();
  Entry& entry = entries_.at(key);
  entry.under_way = false;
  if (answer.ok() && options_.max_age > absl::ZeroDuration() && now >= began && now < until) {
    cache_.Put(key, *answer, began, until);
    Waiters late = TakeNext(entry);
    std::move(late.begin(), late.end(), std::back_inserter(waiters));
  }
  if (entry.next != nullptr) return true;
  entries_.erase(key);
  return false;
}

SharedReads::Waiters SharedReads::TakeNext(Entry& entry) {
  if (entry.next == nullptr) return {};
  const std::unique_ptr<Flight> next = std::exchange(entry.next, nullptr);
  waiter_count_ -= next->waiters.size();
  return std::move(next->waiters);
}

}  // namespace carillon
