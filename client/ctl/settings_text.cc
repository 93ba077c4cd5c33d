#include "client/ctl/settings_text.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

constexpr absl::string_view kAll = "*";
constexpr absl::string_view kCategory = "category/";
constexpr absl::string_view kDays[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
constexpr int kWeekDays = 7;
constexpr int kDefaultDigestMinute = 9 * 60;

absl::Status NotLike(absl::string_view text, absl::string_view examples) {
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' must be like ", examples));
}

std::string ClockText(int minute) { return absl::StrFormat("%02d:%02d", minute / 60, minute % 60); }

// HH:MM, in minutes of the day.
std::optional<int> ParseClock(absl::string_view text) {
  int hours = 0;
  int minutes = 0;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() != 2 || parts[0].empty() || parts[0].size() > 2 || parts[1].size() != 2) return std::nullopt;
  for (const absl::string_view part : parts) {
    if (!std::all_of(part.begin(), part.end(), absl::ascii_isdigit)) return std::nullopt;
  }
  if (!absl::SimpleAtoi(parts[0], &hours) || !absl::SimpleAtoi(parts[1], &minutes)) return std::nullopt;
  if (hours > 24 || minutes > 59) return std::nullopt;
  return hours * 60 + minutes;
}

std::optional<v1::Weekday> ParseDay(absl::string_view text) {
  const auto* const found = std::find(std::begin(kDays), std::end(kDays), absl::AsciiStrToLower(text));
  if (found == std::end(kDays)) return std::nullopt;
  return static_cast<v1::Weekday>(v1::WEEKDAY_MONDAY + (found - std::begin(kDays)));
}

absl::string_view DayText(int day) {
  return v1::Weekday_IsValid(day) && day != v1::WEEKDAY_UNSPECIFIED ? kDays[day - v1::WEEKDAY_MONDAY] : "?";
}

// 'mon', or 'fri-mon', which goes on over Sunday.
bool AddDays(absl::string_view text, v1::QuietHours& quiet_hours) {
  const std::pair<absl::string_view, absl::string_view> ends = absl::StrSplit(text, absl::MaxSplits('-', 1));
  const std::optional<v1::Weekday> first = ParseDay(ends.first);
  const std::optional<v1::Weekday> last = absl::StrContains(text, '-') ? ParseDay(ends.second) : first;
  if (!first.has_value() || !last.has_value()) return false;
  for (int day = *first;; day = day % kWeekDays + 1) {
    quiet_hours.add_days(static_cast<v1::Weekday>(day));
    if (day == *last) return true;
  }
}

// Days in order, those in a row as one: 'mon-fri,sun'.
std::string DaysText(const v1::QuietHours& quiet_hours) {
  std::vector<std::string> runs;
  for (int i = 0; i < quiet_hours.days_size(); ++i) {
    const int first = quiet_hours.days(i);
    while (i + 1 < quiet_hours.days_size() && quiet_hours.days(i + 1) == quiet_hours.days(i) + 1) ++i;
    const int last = quiet_hours.days(i);
    runs.push_back(first == last ? std::string(DayText(first)) : absl::StrCat(DayText(first), "-", DayText(last)));
  }
  return absl::StrJoin(runs, ",");
}

}  // namespace

absl::StatusOr<v1::Preference> ParsePreference(const std::string& text) {
  const absl::Status wrong = NotLike(text, "TYPE[:CHANNEL]=on|off|digest, category/NAME... or *...: like:email=off");
  const std::vector<std::string> sides = absl::StrSplit(text, '=');
  if (sides.size() != 2) return wrong;
  const std::vector<std::string> subject = absl::StrSplit(sides[0], ':');
  v1::Preference preference;
  v1::Choice choice = v1::CHOICE_UNSPECIFIED;
  if (!v1::Choice_Parse(absl::StrCat("CHOICE_", absl::AsciiStrToUpper(sides[1])), &choice)) return wrong;
  preference.set_choice(choice);
  absl::string_view name = subject[0];
  if (absl::ConsumePrefix(&name, kCategory)) {
    preference.set_category(std::string(name));
  } else if (name != kAll) {
    preference.set_type(std::string(name));
  }
  if (subject.size() == 1) return preference;
  v1::Channel channel = v1::CHANNEL_UNSPECIFIED;
  if (subject.size() > 2 || !v1::Channel_Parse(absl::StrCat("CHANNEL_", absl::AsciiStrToUpper(subject[1])), &channel)) {
    return wrong;
  }
  preference.set_channel(channel);
  return preference;
}

std::string PreferenceText(const v1::Preference& preference) {
  std::string text(kAll);
  if (preference.has_category()) text = absl::StrCat(kCategory, preference.category());
  if (preference.has_type()) text = preference.type();
  if (preference.channel() != v1::CHANNEL_UNSPECIFIED) {
    absl::StrAppend(&text, ":", ShortName(v1::Channel_Name(preference.channel()), "CHANNEL_"));
  }
  return absl::StrCat(text, "=", ShortName(v1::Choice_Name(preference.choice()), "CHOICE_"));
}

absl::StatusOr<v1::QuietHours> ParseQuietHours(const std::string& text) {
  const absl::Status wrong = NotLike(text, "22:00-07:00, 'mon-fri 22:00-07:00' or 'sat,sun 00:00-10:00'");
  const std::vector<std::string> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  if (words.empty() || words.size() > 2) return wrong;
  v1::QuietHours quiet_hours;
  if (words.size() == 2) {
    for (const absl::string_view days : absl::StrSplit(words[0], ',')) {
      if (!AddDays(days, quiet_hours)) return wrong;
    }
  }
  const std::vector<std::string> times = absl::StrSplit(words.back(), '-');
  if (times.size() != 2) return wrong;
  const std::optional<int> start = ParseClock(times[0]);
  const std::optional<int> end = ParseClock(times[1]);
  if (!start.has_value() || !end.has_value()) return wrong;
  quiet_hours.set_start_minute(*start);
  quiet_hours.set_end_minute(*end);
  return quiet_hours;
}

std::string QuietHoursText(const v1::QuietHours& quiet_hours) {
  return absl::StrCat(DaysText(quiet_hours), quiet_hours.days().empty() ? "" : " ",
                      ClockText(quiet_hours.start_minute()), "-", ClockText(quiet_hours.end_minute()));
}

absl::StatusOr<v1::DigestTime> ParseDigestTime(const std::string& text) {
  const absl::Status wrong = NotLike(text, "hourly, 'daily 09:00' or 'weekly mon 09:00'");
  const std::vector<std::string> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  v1::DigestTime time;
  if (words.size() == 1 && words[0] == "hourly") {
    time.set_every(v1::DigestTime::EVERY_HOUR);
    return time;
  }
  if (words.size() == 2 && words[0] == "daily") {
    time.set_every(v1::DigestTime::EVERY_DAY);
  } else if (words.size() == 3 && words[0] == "weekly" && ParseDay(words[1]).has_value()) {
    time.set_every(v1::DigestTime::EVERY_WEEK);
    time.set_day(*ParseDay(words[1]));
  } else {
    return wrong;
  }
  const std::optional<int> minute = ParseClock(words.back());
  if (!minute.has_value()) return wrong;
  time.set_minute(*minute);
  return time;
}

std::string DigestTimeText(const v1::RecipientSettings& settings) {
  const v1::DigestTime& time = settings.digest_time();
  switch (time.every()) {
    case v1::DigestTime::EVERY_HOUR:
      return "hourly";
    case v1::DigestTime::EVERY_WEEK:
      return absl::StrCat("weekly ", DayText(time.day()), " ", ClockText(time.minute()));
    default:
      return absl::StrCat("daily ", ClockText(settings.has_digest_time() ? time.minute() : kDefaultDigestMinute));
  }
}

absl::StatusOr<google::protobuf::Timestamp> ParseUntil(const std::string& text, absl::Time now) {
  absl::Duration duration;
  absl::Time until;
  std::string error;
  if (absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration() && duration != absl::InfiniteDuration()) {
    until = now + duration;
  } else if (!absl::ParseTime(absl::RFC3339_full, text, &until, &error) || until == absl::InfiniteFuture() ||
             until == absl::InfinitePast()) {
    return NotLike(text, "2h, 90m or 2026-12-24T18:00:00+01:00");
  }
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(absl::ToUnixSeconds(until));
  timestamp.set_nanos(
      static_cast<int32_t>((until - absl::FromUnixSeconds(timestamp.seconds())) / absl::Nanoseconds(1)));
  return timestamp;
}

}  // namespace carillon::ctl
