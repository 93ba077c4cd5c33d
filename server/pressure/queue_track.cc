#include "server/pressure/queue_track.h"

#include <algorithm>
#include <iterator>

#include "carillon/domain/limits.h"

namespace carillon {
namespace {

constexpr absl::Duration kStep = absl::Seconds(5);
constexpr absl::Duration kRateWindow = absl::Seconds(30);
constexpr absl::Duration kLeastWindow = absl::Milliseconds(500);
// From one look to the next: with fewer the newest that was taken may be long gone, and
// what waits has come later.
constexpr int64_t kSteadyFlow = 10;

}  // namespace

void QueueTrack::Add(const QueueLook& look) {
  if (!points_.empty() && look.time <= points_.back().time) return;
  if (points_.size() >= 2 && points_.back().time - points_[points_.size() - 2].time < kStep) points_.pop_back();
  points_.push_back({look.time, look.waiting, look.settled, look.items, look.newest_taken});
  if (points_.size() > limits::kDepthSamples) points_.pop_front();
  const Point& base = Base();
  const int64_t settled = look.settled - base.settled;
  if (settled > 0) items_per_message_ = static_cast<double>(look.items - base.items) / static_cast<double>(settled);
}

const QueueTrack::Point& QueueTrack::Base() const {
  const absl::Time since = points_.back().time - kRateWindow;
  const auto later = std::find_if(points_.begin(), points_.end(), [since](const Point& p) { return p.time > since; });
  return later == points_.begin() ? points_.front() : *std::prev(later);
}

QueueTrack::Rates QueueTrack::rates() const {
  if (points_.empty()) return {};
  const Point& then = Base();
  const Point& now = points_.back();
  if (now.time - then.time < kLeastWindow) return {};
  const double seconds = absl::ToDoubleSeconds(now.time - then.time);
  const auto per_second = [seconds](int64_t count) { return std::max(0.0, static_cast<double>(count) / seconds); };
  return {.in = per_second(now.came() - then.came()),
          .out = per_second(now.settled - then.settled),
          .items_out = per_second(now.items - then.items)};
}

// Before the first look nobody knows: then it is at least as old as that, or it has come
// after the newest that was taken.
absl::Time QueueTrack::HeadCame() const {
  const int64_t settled = points_.back().settled;
  for (size_t i = points_.size(); i-- > 0;) {
    const int64_t came = points_[i].came();
    if (came > settled) continue;
    const Point& next = points_[i + 1];
    const double part = static_cast<double>(settled + 1 - came) / static_cast<double>(next.came() - came);
    return points_[i].time + (next.time - points_[i].time) * part;
  }
  return std::min(points_.front().time, points_.back().newest_taken.value_or(points_.front().time));
}

std::optional<absl::Duration> QueueTrack::OldestAge(absl::Time now) const {
  if (waiting() <= 0) return std::nullopt;
  return std::max(absl::ZeroDuration(), now - HeadCame());
}

std::optional<absl::Duration> QueueTrack::AgeSinceAcceptance(absl::Time now) const {
  const std::optional<absl::Duration> age = OldestAge(now);
  if (!age.has_value() || points_.size() < 2) return age;
  const Point& last = points_.back();
  const Point& before = points_[points_.size() - 2];
  // It stands still while what is taken was held before, or is an event's further pages.
  const bool flows = last.settled - before.settled >= kSteadyFlow && last.newest_taken > before.newest_taken;
  return flows ? std::max(*age, now - *last.newest_taken) : age;
}

std::vector<std::pair<absl::Time, int64_t>> QueueTrack::History(absl::Time since) const {
  std::vector<std::pair<absl::Time, int64_t>> history;
  for (const Point& point : points_) {
    if (point.time >= since) history.emplace_back(point.time, point.waiting);
  }
  return history;
}

}  // namespace carillon
