#include "carillon/domain/quiet_hours.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

constexpr int kDayMinutes = 24 * 60;
constexpr int kWeekMinutes = 7 * kDayMinutes;

using TimeInfo = absl::TimeZone::TimeInfo;

// Both grow with `local`, however clocks change: what touches by the clock touches in time.
absl::Time FirstShown(absl::CivilMinute local, absl::TimeZone zone) {
  const TimeInfo info = zone.At(absl::CivilSecond(local));
  return info.kind == TimeInfo::SKIPPED ? info.trans : info.pre;
}
absl::Time LastShown(absl::CivilMinute local, absl::TimeZone zone) {
  const TimeInfo info = zone.At(absl::CivilSecond(local));
  return info.kind == TimeInfo::SKIPPED ? info.trans : info.post;
}

bool IsInfinite(absl::Time time) { return time == absl::InfiniteFuture() || time == absl::InfinitePast(); }

// From Monday, as absl counts.
int DayOfWeek(absl::Weekday day) { return static_cast<int>(day); }

std::vector<FieldViolation> FaultsOf(const std::vector<QuietSpan>& spans) {
  std::vector<FieldViolation> faults;
  for (size_t i = 0; i < spans.size(); ++i) {
    const auto check = [&](absl::string_view field, int value, int most, absl::string_view description) {
      if (value >= 0 && value <= most) return;
      faults.push_back({absl::StrCat("quiet_hours[", i, "].", field), std::string(description)});
    };
    check("day", DayOfWeek(spans[i].day), 6, "must be a day of the week");
    check("start_minute", spans[i].start_minute, kDayMinutes - 1, "must be 0 to 1439");
    check("end_minute", spans[i].end_minute, kDayMinutes, "must be 0 to 1440");
  }
  return faults;
}

}  // namespace

std::vector<QuietHours::Run> QuietHours::Merge(const std::vector<QuietSpan>& spans) {
  std::vector<Run> all;
  for (const QuietSpan& span : spans) {
    const int midnight = DayOfWeek(span.day) * kDayMinutes;
    const int next_day = span.end_minute <= span.start_minute ? kDayMinutes : 0;
    all.push_back({midnight + span.start_minute, midnight + next_day + span.end_minute});
  }
  std::sort(all.begin(), all.end(), [](const Run& a, const Run& b) { return a.start < b.start; });
  std::vector<Run> runs;
  for (const Run& run : all) {
    if (runs.empty() || run.start > runs.back().end) {
      runs.push_back(run);
    } else {
      runs.back().end = std::max(runs.back().end, run.end);
    }
  }
  // The last one may reach into the next week, and touch the first ones there.
  size_t touched = 0;
  while (touched + 1 < runs.size() && runs[touched].start + kWeekMinutes <= runs.back().end) {
    runs.back().end = std::max(runs.back().end, runs[touched++].end + kWeekMinutes);
  }
  runs.erase(runs.begin(), runs.begin() + static_cast<int64_t>(touched));
  return runs;
}

absl::StatusOr<QuietHours> QuietHours::Make(std::vector<QuietSpan> spans) {
  if (spans.size() > limits::kMaxQuietSpans) {
    return error::InvalidField("quiet_hours", absl::StrCat("must be at most ", limits::kMaxQuietSpans));
  }
  std::vector<FieldViolation> faults = FaultsOf(spans);
  if (!faults.empty()) return error::InvalidFields(std::move(faults));
  std::vector<Run> runs = Merge(spans);
  if (runs.size() == 1 && runs.front().end - runs.front().start >= kWeekMinutes) {
    return error::InvalidField("quiet_hours", "must leave at least one minute of the week open");
  }
  return QuietHours(std::move(spans), std::move(runs));
}

std::optional<absl::Time> QuietHours::QuietUntil(absl::Time now, absl::TimeZone zone) const {
  if (runs_.empty() || IsInfinite(now)) return std::nullopt;
  const absl::CivilMinute local = absl::ToCivilMinute(now, zone);
  const absl::CivilMinute this_week(absl::PrevWeekday(absl::CivilDay(local) + 1, absl::Weekday::monday));
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), local - this_week,
                                      [](int64_t minute, const Run& run) { return minute < run.start; });
  // Runs are counted on from week to week, from the week before this one. The latest that
  // the clock knows to have begun comes first, and at most a week of those that follow
  // it: while clocks change, more may have begun, or begin with no opening in between.
  const size_t count = runs_.size();
  const size_t latest = count + static_cast<size_t>(after - runs_.begin()) - 1;
  absl::Time until = now;
  for (size_t n = latest; n <= latest + count; ++n) {
    const absl::CivilMinute week = this_week + (static_cast<int64_t>(n / count) - 1) * kWeekMinutes;
    const Run& run = runs_[n % count];
    if (FirstShown(week + run.start, zone) > std::max(now, until)) break;
    until = LastShown(week + run.end, zone);
  }
  if (until <= now) return std::nullopt;
  return until;
}

absl::Time NextLocalTime(absl::Time after, int minute_of_day, std::optional<absl::Weekday> weekday,
                         absl::TimeZone zone) {
  if (IsInfinite(after)) return after;
  absl::CivilDay day = absl::ToCivilDay(after, zone);
  if (weekday.has_value()) day = absl::NextWeekday(day - 1, *weekday);
  for (;; day += weekday.has_value() ? 7 : 1) {
    const absl::Time shown = FirstShown(absl::CivilMinute(day) + minute_of_day, zone);
    if (shown > after) return shown;
  }
}

absl::Time NextLocalHour(absl::Time after, absl::TimeZone zone) {
  if (IsInfinite(after)) return after;
  const absl::CivilHour current = absl::ToCivilHour(after, zone);
  absl::Time next = absl::InfiniteFuture();
  // Clocks go back by up to 3 hours, so the two before this one may be shown again.
  for (absl::CivilHour hour = current - 2; hour <= current + 1; ++hour) {
    for (const absl::Time shown :
         {FirstShown(absl::CivilMinute(hour), zone), LastShown(absl::CivilMinute(hour), zone)}) {
      if (shown > after) next = std::min(next, shown);
    }
  }
  return next;
}

}  // namespace carillon
