#include "carillon/runtime/local_rates.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

constexpr absl::Duration kMinute = absl::Minutes(1);

absl::Duration TimeOf(int64_t places, int64_t rate) { return absl::Seconds(places) / rate; }

// Of an app's senders no two names are alike, and none is like the app's own.
std::string SenderName(AppId app, absl::string_view sender) { return absl::StrCat(app.value(), "/", sender); }

std::string NameOf(AppId app, const SendRate& rate) {
  return rate.whose == RateAnswer::Limit::kApp ? absl::StrCat(app.value()) : SenderName(app, rate.sender_id);
}

}  // namespace

absl::StatusOr<std::vector<RateAnswer>> LocalRates::Take(absl::Span<const RateRequest> requests) {
  const absl::Time now = clock_.Now();
  std::vector<RateAnswer> answers;
  absl::MutexLock lock(&mutex_);
  for (const RateRequest& request : requests) answers.push_back(TakeOne(request, now));
  return answers;
}

RateAnswer LocalRates::TakeOne(const RateRequest& request, absl::Time now) {
  RateAnswer answer;
  answer.counts = Count(request, now);
  const std::vector<SendRate> rates = RatesOf(request);
  for (const SendRate& rate : rates) {
    const absl::Duration late = rate.places > rate.burst
                                    ? absl::InfiniteDuration()
                                    : AheadWith(request.app, rate, now) - TimeOf(rate.burst, rate.rate);
    if (late <= answer.wait) continue;
    answer.refused_by = rate.whose;
    answer.wait = late;
  }
  if (answer.refused_by == RateAnswer::Limit::kNone) TakePlaces(request.app, rates, now);
  return answer;
}

void LocalRates::Note(const RateRequest& request, const RateAnswer& answer) {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&mutex_);
  Count(request, now);
  if (answer.refused_by == RateAnswer::Limit::kNone) TakePlaces(request.app, RatesOf(request), now);
}

void LocalRates::TakePlaces(AppId app, absl::Span<const SendRate> rates, absl::Time now) {
  for (const SendRate& rate : rates) {
    const absl::Duration ahead = AheadWith(app, rate, now);
    Touch(NameOf(app, rate)).arrival = now + ahead;
  }
}

absl::Duration LocalRates::AheadWith(AppId app, const SendRate& rate, absl::Time now) {
  // More than a full burst is of a limit that has been changed since.
  const absl::Duration ahead = std::min(Touch(NameOf(app, rate)).arrival - now, TimeOf(rate.burst, rate.rate));
  return std::max(ahead, absl::ZeroDuration()) + TimeOf(rate.places, rate.rate);
}

std::vector<int64_t> LocalRates::Count(const RateRequest& request, absl::Time now) {
  std::vector<int64_t> counts;
  if (request.limits.runaway_per_minute == 0) return counts;
  for (const RateRequest::Sender& sender : request.senders) {
    Key& key = Touch(SenderName(request.app, sender.id));
    if (key.count_end <= now) {
      key.count = 0;
      key.count_end = now + kMinute;
    }
    key.count += sender.places;
    counts.push_back(key.count);
    if (key.count > request.limits.runaway_per_minute) key.count_end = now;
  }
  return counts;
}

LocalRates::Key& LocalRates::Touch(absl::string_view name) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    keys_.splice(keys_.begin(), keys_, found->second);
    return keys_.front();
  }
  if (keys_.size() >= max_keys_) {
    by_name_.erase(keys_.back().name);
    keys_.pop_back();
  }
  keys_.push_front(
      {.name = std::string(name), .arrival = absl::InfinitePast(), .count = 0, .count_end = absl::InfinitePast()});
  by_name_.emplace(std::string(name), keys_.begin());
  return keys_.front();
}

}  // namespace carillon
