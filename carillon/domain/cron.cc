#include "carillon/domain/cron.h"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

constexpr int kHorizonYears = 10;
constexpr size_t kFieldCount = 5;
constexpr int kSunday = 0;
constexpr int kSundayAgain = 7;

constexpr std::array<absl::string_view, 12> kMonthNames = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                                           "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::array<absl::string_view, 7> kWeekdayNames = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

struct Field {
  absl::string_view name;
  int first;
  int last;
  int count;                                  // Of different values: there are two Sundays.
  absl::Span<const absl::string_view> names;  // From `first` on.
};

constexpr Field kMinute = {"minute", 0, 59, 60, {}};
constexpr Field kHour = {"hour", 0, 23, 24, {}};
constexpr Field kDayOfMonth = {"day_of_month", 1, 31, 31, {}};
constexpr Field kMonth = {"month", 1, 12, 12, kMonthNames};
constexpr Field kDayOfWeek = {"day_of_week", kSunday, kSundayAgain, 7, kWeekdayNames};

constexpr std::array<std::pair<absl::string_view, absl::string_view>, 7> kNicknames = {{
    {"@hourly", "0 * * * *"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"},
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
}};

// --- Reading.

// Safe in any message, whatever bytes were given.
std::string Shown(absl::string_view text) { return text.empty() ? "an empty value" : absl::CHexEscape(text); }

template <typename... Parts>
absl::Status Fault(const Field& field, const Parts&... what) {
  return absl::InvalidArgumentError(absl::StrCat(field.name, ": ", what...));
}

std::string Allowed(const Field& field) {
  const std::string numbers = absl::StrCat(field.first, " to ", field.last);
  return field.names.empty() ? numbers : absl::StrCat(numbers, " or ", field.names.front(), " to ", field.names.back());
}

// SimpleAtoi alone would take signs and spaces.
std::optional<int> ReadNumber(absl::string_view text) {
  int number = 0;
  if (!std::all_of(text.begin(), text.end(), absl::ascii_isdigit)) return std::nullopt;
  if (!absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

absl::StatusOr<int> ReadValue(const Field& field, absl::string_view text) {
  const auto name = std::find_if(field.names.begin(), field.names.end(),
                                 [&](absl::string_view other) { return absl::EqualsIgnoreCase(text, other); });
  if (name != field.names.end()) return field.first + static_cast<int>(name - field.names.begin());
  const std::optional<int> number = ReadNumber(text);
  if (number.has_value() && *number >= field.first && *number <= field.last) return *number;
  return Fault(field, Shown(text), " is not ", Allowed(field));
}

absl::StatusOr<int> ReadStep(const Field& field, absl::string_view text) {
  const std::optional<int> step = ReadNumber(text);
  if (step.has_value() && *step >= 1 && *step <= field.count) return *step;
  return Fault(field, "the step ", Shown(text), " is not 1 to ", field.count);
}

bool IsOneValue(absl::string_view range) { return range != "*" && !absl::StrContains(range, '-'); }

absl::StatusOr<std::pair<int, int>> ReadRange(const Field& field, absl::string_view text) {
  if (text == "*") return std::pair(field.first, field.last);
  const size_t dash = text.find('-');
  ASSIGN_OR_RETURN(const int first, ReadValue(field, text.substr(0, dash)));
  if (IsOneValue(text)) return std::pair(first, first);
  ASSIGN_OR_RETURN(int last, ReadValue(field, text.substr(dash + 1)));
  if (field.last == kSundayAgain && last == kSunday && first > last) last = kSundayAgain;
  if (first <= last) return std::pair(first, last);
  return Fault(field, Shown(text), " ends before it begins; a list can hold two ranges");
}

absl::StatusOr<uint64_t> ReadElement(const Field& field, absl::string_view text) {
  const size_t slash = text.find('/');
  const absl::string_view range = text.substr(0, slash);
  ASSIGN_OR_RETURN(const auto bounds, ReadRange(field, range));
  int step = 1;
  if (slash != absl::string_view::npos) {
    if (IsOneValue(range)) return Fault(field, Shown(text), " has a step, which only * or a range may have");
    ASSIGN_OR_RETURN(step, ReadStep(field, text.substr(slash + 1)));
  }
  uint64_t values = 0;
  for (int value = bounds.first; value <= bounds.second; value += step) values |= uint64_t{1} << value;
  return values;
}

absl::StatusOr<uint64_t> ReadField(const Field& field, absl::string_view text) {
  uint64_t values = 0;
  for (absl::string_view element : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(const uint64_t more, ReadElement(field, element));
    values |= more;
  }
  return values;
}

std::vector<absl::string_view> SplitFields(absl::string_view text) {
  return absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
}

absl::StatusOr<absl::string_view> FieldsOfNickname(absl::string_view nickname) {
  for (const auto& [known, fields] : kNicknames) {
    if (nickname == known) return fields;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(nickname), " is not @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"));
}

// Five fields, in their order.
absl::StatusOr<std::vector<absl::string_view>> FieldTexts(absl::string_view text) {
  if (text.size() > limits::kMaxCronBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be at most ", limits::kMaxCronBytes, " bytes, not ", text.size()));
  }
  std::vector<absl::string_view> fields = SplitFields(text);
  if (fields.size() == 1 && absl::StartsWith(fields.front(), "@")) {
    ASSIGN_OR_RETURN(const absl::string_view spelled_out, FieldsOfNickname(fields.front()));
    fields = SplitFields(spelled_out);
  }
  if (fields.size() == kFieldCount) return fields;
  return absl::InvalidArgumentError(
      absl::StrCat("must have 5 fields (minute hour day_of_month month day_of_week), not ", fields.size()));
}

// --- Sets of values.

bool Contains(uint64_t values, int value) { return (values >> value & 1) != 0; }

std::optional<int> FirstNotBelow(uint64_t values, int least) {
  values = values >> least << least;
  if (values == 0) return std::nullopt;
  return std::countr_zero(values);
}

uint8_t WithOneSunday(uint64_t weekdays) {
  if (Contains(weekdays, kSundayAgain)) weekdays |= 1 << kSunday;
  return static_cast<uint8_t>(weekdays & ~(1 << kSundayAgain));
}

// From Sunday; absl counts from Monday.
int WeekdayOf(absl::CivilDay day) { return (static_cast<int>(absl::GetWeekday(day)) + 1) % 7; }

// A change of clocks need not come on a full minute: those of old local mean times don't.
absl::CivilMinute FirstMinuteFrom(absl::CivilSecond second) {
  const absl::CivilMinute minute(second);
  return minute < second ? minute + 1 : minute;
}

}  // namespace

absl::StatusOr<CronExpression> CronExpression::Parse(absl::string_view text) {
  ASSIGN_OR_RETURN(const std::vector<absl::string_view> texts, FieldTexts(text));
  ASSIGN_OR_RETURN(const uint64_t minutes, ReadField(kMinute, texts[0]));
  ASSIGN_OR_RETURN(const uint64_t hours, ReadField(kHour, texts[1]));
  ASSIGN_OR_RETURN(const uint64_t days, ReadField(kDayOfMonth, texts[2]));
  ASSIGN_OR_RETURN(const uint64_t months, ReadField(kMonth, texts[3]));
  ASSIGN_OR_RETURN(const uint64_t weekdays, ReadField(kDayOfWeek, texts[4]));
  const auto has_star = [](absl::string_view field) { return absl::StartsWith(field, "*"); };
  return CronExpression({.minutes = minutes,
                         .hours = static_cast<uint32_t>(hours),
                         .days = static_cast<uint32_t>(days),
                         .months = static_cast<uint16_t>(months),
                         .weekdays = WithOneSunday(weekdays),
                         .either_day = !has_star(texts[2]) && !has_star(texts[4]),
                         .every_so_often = has_star(texts[1])});
}

std::optional<absl::Time> CronExpression::Next(absl::Time after, absl::TimeZone zone) const {
  const absl::CivilSecond now = zone.At(after).cs;
  if (now.year() < 1 || now.year() > 9999) return std::nullopt;
  const absl::CivilSecond end(now.year() + kHorizonYears, now.month(), now.day(), now.hour(), now.minute(),
                              now.second());
  return fields_.every_so_often ? NextShown(after, end, zone) : NextAppointed(after, end, zone);
}

// Every matching time has one moment, and a later time none that is earlier.
std::optional<absl::Time> CronExpression::NextAppointed(absl::Time after, absl::CivilSecond end,
                                                        absl::TimeZone zone) const {
  std::optional<absl::CivilMinute> match = FirstMatch(absl::ToCivilMinute(after, zone) + 1, end);
  while (match.has_value()) {
    const absl::TimeZone::TimeInfo info = zone.At(absl::CivilSecond(*match));
    const absl::Time moment = info.kind == absl::TimeZone::TimeInfo::SKIPPED ? info.trans : info.pre;
    if (moment > after) return moment;
    // Clocks were put back: they show what has been.
    match = FirstMatch(*match + 1, end);
  }
  return std::nullopt;
}

// From one change of clocks to the next, as in between they just go on.
std::optional<absl::Time> CronExpression::NextShown(absl::Time after, absl::CivilSecond end,
                                                    absl::TimeZone zone) const {
  absl::CivilMinute from = absl::ToCivilMinute(after, zone) + 1;
  absl::TimeZone::CivilTransition change;
  while (true) {
    const bool changes = zone.NextTransition(after, &change);
    const std::optional<absl::CivilMinute> match = FirstMatch(from, changes ? std::min(change.from, end) : end);
    if (match.has_value()) {
      const absl::TimeZone::TimeInfo info = zone.At(absl::CivilSecond(*match));
      return info.pre > after ? info.pre : info.post;
    }
    if (!changes || change.from >= end) return std::nullopt;
    after += absl::Seconds(change.from - zone.At(after).cs) - zone.At(after).subsecond;
    from = FirstMinuteFrom(change.to);
  }
}

std::optional<absl::CivilMinute> CronExpression::FirstMatch(absl::CivilMinute from, absl::CivilSecond end) const {
  // The first day may be over; any other has a time that matches.
  for (auto day = FirstDay(absl::CivilDay(from), end); day.has_value(); day = FirstDay(*day + 1, end)) {
    const auto match = FirstMinuteOfDay(std::max(from, absl::CivilMinute(*day)));
    if (match.has_value()) return *match < end ? match : std::nullopt;
  }
  return std::nullopt;
}

std::optional<absl::CivilDay> CronExpression::FirstDay(absl::CivilDay from, absl::CivilSecond end) const {
  for (absl::CivilMonth month(from); month < end; ++month) {
    if (!Contains(fields_.months, month.month())) continue;
    const auto day = FirstNotBelow(DaysOf(month), month < from ? from.day() : 1);
    if (day.has_value()) return absl::CivilDay(month.year(), month.month(), *day);
  }
  return std::nullopt;
}

std::optional<absl::CivilMinute> CronExpression::FirstMinuteOfDay(absl::CivilMinute from) const {
  const absl::CivilDay day(from);
  for (auto hour = FirstNotBelow(fields_.hours, from.hour()); hour.has_value();
       hour = FirstNotBelow(fields_.hours, *hour + 1)) {
    const auto minute = FirstNotBelow(fields_.minutes, *hour == from.hour() ? from.minute() : 0);
    if (minute.has_value()) return absl::CivilMinute(day.year(), day.month(), day.day(), *hour, *minute);
  }
  return std::nullopt;
}

// The days of a month, as a set.
uint32_t CronExpression::DaysOf(absl::CivilMonth month) const {
  uint32_t matching = 0;
  for (absl::CivilDay day(month); absl::CivilMonth(day) == month; ++day) {
    const bool in_days = Contains(fields_.days, day.day());
    const bool in_weekdays = Contains(fields_.weekdays, WeekdayOf(day));
    if (fields_.either_day ? in_days || in_weekdays : in_days && in_weekdays) matching |= uint32_t{1} << day.day();
  }
  return matching;
}

}  // namespace carillon
