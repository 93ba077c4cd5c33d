#include "carillon/domain/quiet_hours.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using testing::StatusIs;

constexpr int kDay = 24 * 60;
constexpr int kWeek = 7 * kDay;

// A line of the tables: "Europe/Berlin", "22:00-07:00", a local time and what comes of it.
// With its offset a local time is but one moment: "2024-10-27 02:30 +02:00".
constexpr char kTimeFormat[] = "%Y-%m-%d %H:%M %Ez";

absl::TimeZone Zone(const std::string& name) {
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone(name, &zone)) << name;
  return zone;
}

absl::Time Moment(const std::string& text) {
  absl::Time moment;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(kTimeFormat, text, &moment, &error)) << text << ": " << error;
  return moment;
}

std::string Text(std::optional<absl::Time> moment, absl::TimeZone zone) {
  return moment.has_value() ? absl::FormatTime(kTimeFormat, *moment, zone) : "open";
}

int MinuteOfDay(absl::string_view text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, ':');
  int hours = 0;
  int minutes = 0;
  EXPECT_TRUE(absl::SimpleAtoi(parts.first, &hours) && absl::SimpleAtoi(parts.second, &minutes)) << text;
  return hours * 60 + minutes;
}

// "22:00-07:00" is on every day, "Fri 22:00-07:00" on one; several are joined by "; ".
std::vector<QuietSpan> Spans(absl::string_view text) {
  static constexpr absl::string_view kDays = "MonTueWedThuFriSatSun";
  std::vector<QuietSpan> spans;
  for (const absl::string_view part : absl::StrSplit(text, "; ")) {
    const size_t named = kDays.find(part.substr(0, 3));
    const bool daily = named == absl::string_view::npos;
    const std::pair<std::string, std::string> times = absl::StrSplit(daily ? part : part.substr(4), '-');
    for (size_t day = 0; day < 7; ++day) {
      if (!daily && day != named / 3) continue;
      spans.push_back({static_cast<absl::Weekday>(day), MinuteOfDay(times.first), MinuteOfDay(times.second)});
    }
  }
  return spans;
}

struct QuietCase {
  const char* zone;
  const char* spans;
  const char* now;
  const char* until;  // "open": it is not quiet.
};

void ExpectUntil(const std::vector<QuietCase>& cases) {
  for (const QuietCase& c : cases) {
    const absl::TimeZone zone = Zone(c.zone);
    ASSERT_OK_AND_ASSIGN(const QuietHours quiet, QuietHours::Make(Spans(c.spans)));
    EXPECT_EQ(Text(quiet.QuietUntil(Moment(c.now), zone), zone), c.until) << c.zone << ", " << c.spans << ", " << c.now;
  }
}

TEST(QuietHours, LastFromTheirStartToTheMinuteOfTheirEnd) {
  ExpectUntil({
      {"Europe/Berlin", "22:00-07:00", "2024-06-10 21:59 +02:00", "open"},
      {"Europe/Berlin", "22:00-07:00", "2024-06-10 22:00 +02:00", "2024-06-11 07:00 +02:00"},
      {"Europe/Berlin", "22:00-07:00", "2024-06-11 06:59 +02:00", "2024-06-11 07:00 +02:00"},
      {"Europe/Berlin", "22:00-07:00", "2024-06-11 07:00 +02:00", "open"},
      {"Europe/Berlin", "12:30-13:30", "2024-06-11 13:00 +02:00", "2024-06-11 13:30 +02:00"},
      {"Asia/Kolkata", "22:00-07:00", "2024-06-11 02:00 +05:30", "2024-06-11 07:00 +05:30"},
      {"Asia/Kathmandu", "22:00-07:00", "2024-06-11 06:59 +05:45", "2024-06-11 07:00 +05:45"},
      {"Asia/Kathmandu", "22:00-07:00", "2024-06-11 07:00 +05:45", "open"},
  });
}

TEST(QuietHours, BelongToTheDayOnWhichTheyBegin) {
  ExpectUntil({
      {"America/New_York", "Fri 22:00-10:00", "2024-06-14 09:00 -04:00", "open"},
      {"America/New_York", "Fri 22:00-10:00", "2024-06-15 09:00 -04:00", "2024-06-15 10:00 -04:00"},
      {"America/New_York", "Sun 22:00-07:00", "2024-06-16 23:00 -04:00", "2024-06-17 07:00 -04:00"},
      {"America/New_York", "Sun 22:00-07:00", "2024-06-17 06:00 -04:00", "2024-06-17 07:00 -04:00"},
      {"America/New_York", "Sat 22:00-24:00", "2024-06-15 23:00 -04:00", "2024-06-16 00:00 -04:00"},
      {"America/New_York", "Sat 22:00-00:00", "2024-06-15 23:00 -04:00", "2024-06-16 00:00 -04:00"},
      {"America/New_York", "Sat 08:00-08:00", "2024-06-15 08:00 -04:00", "2024-06-16 08:00 -04:00"},
  });
}

TEST(QuietHours, AreOneWhereTheyTouch) {
  ExpectUntil({
      {"Europe/Berlin", "Sat 00:00-24:00; Sun 00:00-24:00", "2024-06-15 10:00 +02:00", "2024-06-17 00:00 +02:00"},
      {"Europe/Berlin", "Mon 00:00-08:00; Sun 00:00-24:00", "2024-06-16 10:00 +02:00", "2024-06-17 08:00 +02:00"},
      {"Europe/Berlin", "Mon 00:00-08:00; Sun 00:00-24:00", "2024-06-17 07:00 +02:00", "2024-06-17 08:00 +02:00"},
      {"Europe/Berlin", "Tue 09:00-17:00; Tue 12:00-13:00", "2024-06-11 10:00 +02:00", "2024-06-11 17:00 +02:00"},
      {"Europe/Berlin", "Tue 12:00-18:00; Tue 09:00-13:00", "2024-06-11 10:00 +02:00", "2024-06-11 18:00 +02:00"},
      {"Europe/Berlin", "Tue 09:00-12:00; Tue 12:01-13:00", "2024-06-11 10:00 +02:00", "2024-06-11 12:00 +02:00"},
      // Sunday's reaches over two of Monday's.
      {"Europe/Berlin", "Sun 10:00-09:00; Mon 01:00-02:00; Mon 08:00-09:30", "2024-06-16 11:00 +02:00",
       "2024-06-17 09:30 +02:00"},
      // All of the week but a minute.
      {"Europe/Berlin",
       "00:00-23:59; Mon 23:00-00:00; Tue 23:00-00:00; Wed 23:00-00:00; Thu 23:00-00:00; "
       "Fri 23:00-00:00; Sat 23:00-00:00",
       "2024-06-10 00:00 +02:00", "2024-06-16 23:59 +02:00"},
  });
}

TEST(QuietHours, BeginAndEndWithTheSkipWhereClocksSkipTheirStartOrEnd) {
  ExpectUntil({
      {"Europe/Berlin", "22:00-07:00", "2024-03-30 23:00 +01:00", "2024-03-31 07:00 +02:00"},
      {"Europe/Berlin", "23:00-02:30", "2024-03-31 01:30 +01:00", "2024-03-31 03:00 +02:00"},
      {"Europe/Berlin", "23:00-02:30", "2024-03-31 03:00 +02:00", "open"},
      {"Europe/Berlin", "02:15-06:00", "2024-03-31 01:59 +01:00", "open"},
      {"Europe/Berlin", "02:15-06:00", "2024-03-31 03:00 +02:00", "2024-03-31 06:00 +02:00"},
      {"America/New_York", "23:00-02:30", "2024-03-10 01:30 -05:00", "2024-03-10 03:00 -04:00"},
      {"Australia/Lord_Howe", "23:00-02:15", "2024-10-06 01:59 +10:30", "2024-10-06 02:30 +11:00"},
      {"Australia/Lord_Howe", "02:15-05:00", "2024-10-06 02:30 +11:00", "2024-10-06 05:00 +11:00"},
      {"Pacific/Chatham", "23:00-03:00", "2024-09-29 02:44 +12:45", "2024-09-29 03:45 +13:45"},
      {"America/Sao_Paulo", "Sun 00:00-06:00", "2018-11-04 01:00 -02:00", "2018-11-04 06:00 -02:00"},
      {"America/Sao_Paulo", "Sat 20:00-24:00", "2018-11-03 23:59 -03:00", "2018-11-04 01:00 -02:00"},
  });
}

TEST(QuietHours, AreNoneWhereClocksSkipThemWhole) {
  ExpectUntil({
      {"Europe/Berlin", "02:15-02:45", "2024-03-31 01:59 +01:00", "open"},
      {"Europe/Berlin", "02:15-02:45", "2024-03-31 03:00 +02:00", "open"},
      {"Europe/Berlin", "02:00-03:00", "2024-03-31 03:00 +02:00", "open"},
      {"Europe/Berlin", "02:15-02:45", "2024-04-01 02:15 +02:00", "2024-04-01 02:45 +02:00"},
      {"Australia/Lord_Howe", "02:00-02:30", "2024-10-06 02:30 +11:00", "open"},
      {"Pacific/Apia", "Fri 09:00-17:00", "2011-12-31 00:00 +14:00", "open"},
      {"Pacific/Apia", "Fri 09:00-17:00", "2011-12-31 09:00 +14:00", "open"},
  });
}

TEST(QuietHours, LastFromTheFirstOfTheirStartToTheLastOfTheirEndWhereClocksGoBack) {
  ExpectUntil({
      {"Europe/Berlin", "22:00-07:00", "2024-10-26 23:00 +02:00", "2024-10-27 07:00 +01:00"},
      {"Europe/Berlin", "22:00-02:30", "2024-10-27 02:00 +02:00", "2024-10-27 02:30 +01:00"},
      {"Europe/Berlin", "22:00-02:30", "2024-10-27 02:45 +02:00", "2024-10-27 02:30 +01:00"},
      {"Europe/Berlin", "22:00-02:30", "2024-10-27 02:29 +01:00", "2024-10-27 02:30 +01:00"},
      {"Europe/Berlin", "22:00-02:30", "2024-10-27 02:30 +01:00", "open"},
      {"Europe/Berlin", "22:00-02:00", "2024-10-27 02:30 +02:00", "2024-10-27 02:00 +01:00"},
      {"Europe/Berlin", "22:00-03:00", "2024-10-27 02:30 +02:00", "2024-10-27 03:00 +01:00"},
      {"Europe/Berlin", "02:30-06:00", "2024-10-27 02:29 +02:00", "open"},
      {"Europe/Berlin", "02:30-06:00", "2024-10-27 02:30 +02:00", "2024-10-27 06:00 +01:00"},
      {"Europe/Berlin", "02:30-06:00", "2024-10-27 02:00 +01:00", "2024-10-27 06:00 +01:00"},
      {"Europe/Berlin", "02:15-02:30", "2024-10-27 02:45 +02:00", "2024-10-27 02:30 +01:00"},
      // In the first pass of the hour the second span begins before the first one has ended.
      {"Europe/Berlin", "22:00-02:10; 02:40-06:00", "2024-10-27 01:00 +02:00", "2024-10-27 06:00 +01:00"},
      {"America/New_York", "22:00-01:30", "2024-11-03 01:45 -04:00", "2024-11-03 01:30 -05:00"},
      {"Australia/Lord_Howe", "00:00-01:45", "2024-04-07 01:50 +11:00", "2024-04-07 01:45 +10:30"},
      {"Australia/Lord_Howe", "00:00-01:45", "2024-04-07 01:45 +10:30", "open"},
      {"Pacific/Chatham", "23:00-03:00", "2024-04-07 03:30 +13:45", "2024-04-07 03:00 +12:45"},
      // Midnight itself comes twice: the week began once already.
      {"America/Havana", "Sun 00:15-06:00", "2024-11-03 00:00 -05:00", "2024-11-03 06:00 -05:00"},
      {"America/St_Johns", "Sun 00:00-06:00", "2010-11-06 23:30 -03:30", "2010-11-07 06:00 -03:30"},
  });
}

TEST(QuietHours, GoOnWhereADayIsSkipped) {
  ExpectUntil({
      {"Pacific/Apia", "22:00-07:00", "2011-12-29 23:00 -10:00", "2011-12-31 07:00 +14:00"},
      {"Pacific/Apia", "Fri 22:00-07:00", "2011-12-31 00:00 +14:00", "2011-12-31 07:00 +14:00"},
      {"Pacific/Apia", "Thu 22:00-12:00; Sat 00:00-08:00", "2011-12-29 22:00 -10:00", "2011-12-31 08:00 +14:00"},
      {"Pacific/Apia", "Thu 22:00-12:00; Fri 13:00-06:00", "2011-12-29 22:00 -10:00", "2011-12-31 06:00 +14:00"},
  });
}

// The one case in which it is quiet for more than a week.
TEST(QuietHours, LastAWeekMoreWhereClocksSwallowTheOnlyOpening) {
  const char* spans =
      "Mon 00:00-24:00; Tue 00:00-24:00; Wed 00:00-24:00; Thu 00:00-24:00; Fri 00:00-24:00; "
      "Sat 00:00-24:00; Sun 00:00-02:15; Sun 02:45-24:00";
  ExpectUntil({
      {"Europe/Berlin", spans, "2024-03-17 03:00 +01:00", "2024-03-24 02:15 +01:00"},
      {"Europe/Berlin", spans, "2024-03-24 03:00 +01:00", "2024-04-07 02:15 +02:00"},
      {"Europe/Berlin", spans, "2024-10-20 03:00 +02:00", "2024-11-03 02:15 +01:00"},
      {"Europe/Berlin", spans, "2024-10-27 02:20 +02:00", "2024-11-03 02:15 +01:00"},
  });
}

TEST(QuietHours, AreNoneWithoutSpans) {
  const QuietHours none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.QuietUntil(Moment("2024-06-10 03:00 +02:00"), Zone("Europe/Berlin")), std::nullopt);
  ASSERT_OK_AND_ASSIGN(const QuietHours made, QuietHours::Make({}));
  EXPECT_TRUE(made.empty());
  EXPECT_EQ(made, none);
}

TEST(QuietHours, KeepTheirSpansAsGiven) {
  const QuietSpan late{absl::Weekday::friday, 22 * 60, 7 * 60};
  const QuietSpan early{absl::Weekday::monday, 0, 8 * 60};
  ASSERT_OK_AND_ASSIGN(const QuietHours quiet, QuietHours::Make({late, early}));
  EXPECT_THAT(quiet.spans(), ElementsAre(late, early));
  EXPECT_FALSE(quiet.empty());
  ASSERT_OK_AND_ASSIGN(const QuietHours other, QuietHours::Make({early, late}));
  EXPECT_NE(quiet, other);
}

TEST(QuietHours, NameEveryFieldThatIsWrong) {
  EXPECT_THAT(QuietHours::Make({{absl::Weekday::monday, 0, 60}, {absl::Weekday::monday, -1, 1441}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "quiet_hours[1].start_minute: must be 0 to 1439; quiet_hours[1].end_minute: must be 0 to 1440"));
  EXPECT_THAT(QuietHours::Make({{absl::Weekday::monday, 1440, -1}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "quiet_hours[0].start_minute: must be 0 to 1439; quiet_hours[0].end_minute: must be 0 to 1440"));
  EXPECT_THAT(QuietHours::Make({{static_cast<absl::Weekday>(7), 0, 60}}),
              StatusIs(absl::StatusCode::kInvalidArgument, "quiet_hours[0].day: must be a day of the week"));
  EXPECT_OK(QuietHours::Make({{absl::Weekday::monday, 0, 1440}, {absl::Weekday::sunday, 1439, 0}}));
}

TEST(QuietHours, AreLimitedInNumber) {
  std::vector<QuietSpan> spans(limits::kMaxQuietSpans, {absl::Weekday::monday, 0, 60});
  EXPECT_OK(QuietHours::Make(spans));
  spans.push_back(spans.front());
  EXPECT_THAT(QuietHours::Make(spans), StatusIs(absl::StatusCode::kInvalidArgument, "quiet_hours: must be at most 28"));
}

TEST(QuietHours, MustLeaveAMinuteOfTheWeekOpen) {
  for (const char* spans :
       {"00:00-24:00", "08:00-08:00", "00:00-00:00", "22:00-10:00; 09:00-23:00", "12:34-12:33; 12:00-13:00"}) {
    EXPECT_THAT(
        QuietHours::Make(Spans(spans)),
        StatusIs(absl::StatusCode::kInvalidArgument, "quiet_hours: must leave at least one minute of the week open"))
        << spans;
  }
  for (const char* spans : {"00:00-23:59", "00:01-24:00", "08:01-08:00"}) {
    EXPECT_OK(QuietHours::Make(Spans(spans))) << spans;
  }
}

TEST(NextLocalTime, IsLaterTodayOrOnAnotherDay) {
  const auto next = [](const char* zone, const char* after, const char* time, std::optional<absl::Weekday> weekday) {
    return Text(NextLocalTime(Moment(after), MinuteOfDay(time), weekday, Zone(zone)), Zone(zone));
  };
  const char* berlin = "Europe/Berlin";
  EXPECT_EQ(next(berlin, "2024-06-10 08:59 +02:00", "09:00", {}), "2024-06-10 09:00 +02:00");
  EXPECT_EQ(next(berlin, "2024-06-10 09:00 +02:00", "09:00", {}), "2024-06-11 09:00 +02:00");
  EXPECT_EQ(next(berlin, "2024-12-31 23:59 +01:00", "00:00", {}), "2025-01-01 00:00 +01:00");
  EXPECT_EQ(next("Asia/Kathmandu", "2024-06-10 09:01 +05:45", "09:00", {}), "2024-06-11 09:00 +05:45");
  const absl::Weekday friday = absl::Weekday::friday;
  EXPECT_EQ(next(berlin, "2024-06-10 12:00 +02:00", "18:00", friday), "2024-06-14 18:00 +02:00");
  EXPECT_EQ(next(berlin, "2024-06-14 17:59 +02:00", "18:00", friday), "2024-06-14 18:00 +02:00");
  EXPECT_EQ(next(berlin, "2024-06-14 18:00 +02:00", "18:00", friday), "2024-06-21 18:00 +02:00");
}

TEST(NextLocalTime, IsTheSkipWhereClocksSkipItAndTheFirstWhereTheyShowItTwice) {
  const auto next = [](const char* zone, const char* after, const char* time) {
    return Text(NextLocalTime(Moment(after), MinuteOfDay(time), {}, Zone(zone)), Zone(zone));
  };
  EXPECT_EQ(next("Europe/Berlin", "2024-03-30 12:00 +01:00", "02:30"), "2024-03-31 03:00 +02:00");
  EXPECT_EQ(next("Europe/Berlin", "2024-03-31 03:00 +02:00", "02:30"), "2024-04-01 02:30 +02:00");
  EXPECT_EQ(next("Europe/Berlin", "2024-10-26 12:00 +02:00", "02:30"), "2024-10-27 02:30 +02:00");
  EXPECT_EQ(next("Europe/Berlin", "2024-10-27 02:30 +02:00", "02:30"), "2024-10-28 02:30 +01:00");
  EXPECT_EQ(next("Europe/Berlin", "2024-10-27 02:00 +01:00", "02:30"), "2024-10-28 02:30 +01:00");
  EXPECT_EQ(next("America/St_Johns", "2010-11-06 23:30 -03:30", "00:00"), "2010-11-08 00:00 -03:30");
  EXPECT_EQ(next("Pacific/Apia", "2011-12-29 12:00 -10:00", "09:00"), "2011-12-31 00:00 +14:00");
  EXPECT_EQ(next("Pacific/Apia", "2011-12-31 00:00 +14:00", "09:00"), "2011-12-31 09:00 +14:00");
}

TEST(NextLocalHour, IsFullByTheLocalClock) {
  const auto next = [](const char* zone, const char* after) {
    return Text(NextLocalHour(Moment(after), Zone(zone)), Zone(zone));
  };
  EXPECT_EQ(next("Europe/Berlin", "2024-06-10 08:00 +02:00"), "2024-06-10 09:00 +02:00");
  EXPECT_EQ(next("Asia/Kolkata", "2024-06-10 08:20 +05:30"), "2024-06-10 09:00 +05:30");
  EXPECT_EQ(next("Asia/Kathmandu", "2024-06-10 23:59 +05:45"), "2024-06-11 00:00 +05:45");
  EXPECT_EQ(next("Europe/Berlin", "2024-03-31 01:30 +01:00"), "2024-03-31 03:00 +02:00");
  EXPECT_EQ(next("Europe/Berlin", "2024-10-27 02:00 +02:00"), "2024-10-27 02:00 +01:00");
  EXPECT_EQ(next("Europe/Berlin", "2024-10-27 02:00 +01:00"), "2024-10-27 03:00 +01:00");
  EXPECT_EQ(next("Australia/Lord_Howe", "2024-10-06 01:00 +10:30"), "2024-10-06 02:30 +11:00");
  EXPECT_EQ(next("Australia/Lord_Howe", "2024-10-06 02:30 +11:00"), "2024-10-06 03:00 +11:00");
  EXPECT_EQ(next("Australia/Lord_Howe", "2024-04-07 01:00 +11:00"), "2024-04-07 02:00 +10:30");
  EXPECT_EQ(next("Antarctica/Troll", "2024-10-27 02:30 +02:00"), "2024-10-27 01:00 +00:00");
  EXPECT_EQ(next("Antarctica/Casey", "2010-03-05 01:30 +11:00"), "2010-03-04 23:00 +08:00");
}

TEST(LocalTimes, OfInfinityAreInfinite) {
  const absl::TimeZone zone = Zone("Europe/Berlin");
  ASSERT_OK_AND_ASSIGN(const QuietHours quiet, QuietHours::Make(Spans("22:00-07:00")));
  for (const absl::Time infinite : {absl::InfiniteFuture(), absl::InfinitePast()}) {
    EXPECT_EQ(quiet.QuietUntil(infinite, zone), std::nullopt);
    EXPECT_EQ(NextLocalTime(infinite, 0, absl::Weekday::monday, zone), infinite);
    EXPECT_EQ(NextLocalHour(infinite, zone), infinite);
  }
}

// --- Against a scan of every minute.

// What local clocks show in every minute of some weeks around a change of theirs: slow and
// plain, where the code under test computes.
class Scan {
 public:
  static constexpr int kChange = 10 * kDay;  // The minute of the change.
  static constexpr int kMinutes = 30 * kDay;

  Scan(absl::Time change, absl::TimeZone zone) : start_(change - absl::Minutes(kChange)) {
    // A Monday, so that minutes of the week are remainders.
    const absl::CivilMinute epoch(1970, 1, 5);
    for (int i = 0; i < kMinutes; ++i) shown_.push_back(absl::ToCivilMinute(At(i), zone) - epoch);
    latest_ = shown_;
    for (int i = 1; i < kMinutes; ++i) latest_[i] = std::max(latest_[i], latest_[i - 1]);
    earliest_ = shown_;
    for (int i = kMinutes - 2; i >= 0; --i) earliest_[i] = std::min(earliest_[i], earliest_[i + 1]);
  }

  absl::Time At(int minute) const { return start_ + absl::Minutes(minute); }
  int64_t Shown(int minute) const { return shown_[minute]; }
  // By how much clocks change.
  int64_t Shift() const { return std::abs(shown_[kChange] - shown_[kChange - 1] - 1); }

  // Whether an occurrence of the span has begun by then, and its end is yet to be shown for
  // the last time or to be skipped.
  bool IsQuiet(const QuietSpan& span, int minute) const {
    const int64_t offset = static_cast<int>(span.day) * kDay + span.start_minute;
    const int64_t start = latest_[minute] - (latest_[minute] - offset) % kWeek;  // The latest shown.
    const int length = span.end_minute - span.start_minute + (span.end_minute <= span.start_minute ? kDay : 0);
    return shown_[minute] < start + length || earliest_[minute + 1] <= start + length;
  }

  // Per minute: the first one from it on that is not quiet, or the last of all.
  std::vector<int> Open(const std::vector<QuietSpan>& spans) const {
    std::vector<int> open(kMinutes, kMinutes - 1);
    for (int i = kMinutes - 2; i >= 0; --i) {
      const bool quiet = std::any_of(spans.begin(), spans.end(), [&](const QuietSpan& s) { return IsQuiet(s, i); });
      open[i] = quiet ? open[i + 1] : i;
    }
    return open;
  }

  // Whether a local minute is shown or skipped here for the first time that `matches`.
  template <typename Predicate>
  bool IsFirst(int minute, Predicate matches) const {
    for (int64_t local = latest_[minute - 1] + 1; local <= latest_[minute]; ++local) {
      if (matches(local)) return true;
    }
    return false;
  }

 private:
  absl::Time start_;
  std::vector<int64_t> shown_;
  std::vector<int64_t> latest_;    // Shown up to then.
  std::vector<int64_t> earliest_;  // Shown from then on.
};

constexpr std::pair<const char*, const char*> kChanges[] = {
    {"Europe/Berlin", "2024-03-31 03:00 +02:00"},       {"Europe/Berlin", "2024-10-27 02:00 +01:00"},
    {"America/New_York", "2024-03-10 03:00 -04:00"},    {"America/New_York", "2024-11-03 01:00 -05:00"},
    {"Asia/Kolkata", "2024-03-10 03:00 +05:30"},  // These two never change.
    {"Asia/Kathmandu", "2024-03-10 03:00 +05:45"},      {"Australia/Lord_Howe", "2024-10-06 02:30 +11:00"},
    {"Australia/Lord_Howe", "2024-04-07 01:30 +10:30"}, {"Pacific/Apia", "2011-12-31 00:00 +14:00"},
    {"Pacific/Chatham", "2024-09-29 03:45 +13:45"},     {"Pacific/Chatham", "2024-04-07 02:45 +12:45"},
    {"America/Sao_Paulo", "2018-11-04 01:00 -02:00"},  // Midnight is skipped,
    {"America/Havana", "2024-11-03 00:00 -05:00"},     // comes twice,
    {"America/St_Johns", "2010-11-06 23:01 -03:30"},   // is come back from,
    {"Antarctica/Troll", "2024-10-27 01:00 +00:00"},   // and two hours come twice.
};

template <typename Check>
void ForEachChange(Check check) {
  uint32_t seed = 0;
  for (const auto& [name, change] : kChanges) {
    SCOPED_TRACE(absl::StrCat(name, ", ", change));
    const absl::TimeZone zone = Zone(name);
    std::mt19937 random(++seed);
    check(Scan(Moment(change), zone), zone, random);
  }
}

// Every minute while clocks change, and some of the others.
bool IsOfInterest(int minute, std::mt19937& random) {
  return std::abs(minute - Scan::kChange) < 4 * 60 || random() % 32 == 0;
}

// Spans of which some begin or end while clocks change, some at any time, and some fill
// nearly all of the week.
std::vector<QuietSpan> RandomSpans(const Scan& scan, std::mt19937& random) {
  const int64_t change = scan.Shown(Scan::kChange);
  const auto minute = [&] {
    if (random() % 3 == 0) return static_cast<int64_t>(random() % kWeek);
    return (change + static_cast<int64_t>(random() % 360) - 240) / 5 * 5 % kWeek;
  };
  std::vector<QuietSpan> spans;
  if (random() % 4 == 0) {  // All days, but for an opening of up to two hours.
    const int opening = static_cast<int>(minute() % kDay);
    const int close = (opening + 1 + static_cast<int>(random() % 120)) % kDay;
    for (int day = 0; day < 7; ++day) spans.push_back({static_cast<absl::Weekday>(day), close, opening});
  }
  const size_t count = spans.size() + 1 + random() % (random() % 2 == 0 ? 3 : 20);
  while (spans.size() < count) {
    const int64_t start = minute();
    spans.push_back({static_cast<absl::Weekday>(start / kDay), static_cast<int>(start % kDay),
                     static_cast<int>(random() % 8 == 0 ? kDay : minute() % kDay)});
  }
  std::shuffle(spans.begin(), spans.end(), random);
  return spans;
}

// Of the local week, in minutes; 0 if all of it is quiet.
int WidestOpening(const std::vector<QuietSpan>& spans) {
  std::vector<bool> quiet(2 * kWeek);
  for (const QuietSpan& span : spans) {
    const int start = static_cast<int>(span.day) * kDay + span.start_minute;
    const int length = span.end_minute - span.start_minute + (span.end_minute <= span.start_minute ? kDay : 0);
    for (int i = start; i < start + length; ++i) quiet[i % kWeek] = quiet[i % kWeek + kWeek] = true;
  }
  int widest = 0;
  int width = 0;
  for (const bool is_quiet : quiet) {
    width = is_quiet ? 0 : width + 1;
    widest = std::max(widest, width);
  }
  return std::min(widest, kWeek);
}

void ExpectAsScanned(const std::vector<QuietSpan>& spans, const Scan& scan, absl::TimeZone zone, std::mt19937& random) {
  ASSERT_OK_AND_ASSIGN(const QuietHours quiet, QuietHours::Make(spans));
  const std::vector<int> open = scan.Open(spans);
  const int64_t shift = scan.Shift();
  const int64_t longest = (WidestOpening(spans) > shift ? kWeek : 2 * kWeek) + shift;
  for (int i = Scan::kChange - 9 * kDay; i < Scan::kChange + 2 * kDay; ++i) {
    const bool at_boundary = (open[i] == i) != (open[i - 1] == i - 1);
    if (!at_boundary && !IsOfInterest(i, random)) continue;
    const absl::Time now = scan.At(i) + absl::Milliseconds(random() % 2 == 0 ? 0 : random() % 60'000);
    const std::optional<absl::Time> until = quiet.QuietUntil(now, zone);
    const std::optional<absl::Time> expected =
        open[i] == i ? std::optional<absl::Time>() : std::optional<absl::Time>(scan.At(open[i]));
    ASSERT_EQ(until, expected) << Text(now, zone) << ": " << Text(until, zone) << ", not " << Text(expected, zone);
    if (!until.has_value()) continue;
    ASSERT_LE(*until - now, absl::Minutes(longest)) << Text(now, zone);
    ASSERT_EQ(quiet.QuietUntil(*until, zone), std::nullopt) << Text(now, zone);
  }
}

TEST(QuietHours, AreWhatAScanOfEveryMinuteFinds) {
  int made = 0;
  ForEachChange([&](const Scan& scan, absl::TimeZone zone, std::mt19937& random) {
    for (int n = 0; n < 12; ++n) {
      const std::vector<QuietSpan> spans = RandomSpans(scan, random);
      if (WidestOpening(spans) == 0) continue;
      ++made;
      ExpectAsScanned(spans, scan, zone, random);
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
  EXPECT_GT(made, 100);
}

TEST(QuietHours, AreRefusedExactlyIfAllOfTheWeekIsQuiet) {
  std::mt19937 random(1);
  int refused = 0;
  for (int n = 0; n < 300; ++n) {
    std::vector<QuietSpan> spans;
    const size_t count = 7 + random() % (limits::kMaxQuietSpans - 6);
    while (spans.size() < count) {
      const int start = static_cast<int>(random() % 24 * 60);
      const int end = random() % 4 != 0 ? start : static_cast<int>(random() % 25 * 60);
      spans.push_back({static_cast<absl::Weekday>(random() % 7), start, end});
    }
    const bool open = WidestOpening(spans) > 0;
    EXPECT_EQ(QuietHours::Make(spans).ok(), open);
    refused += open ? 0 : 1;
  }
  EXPECT_GT(refused, 30);
  EXPECT_LT(refused, 270);
}

// Counts down from the last minute, so that the next match is known by then.
template <typename Matches, typename Next>
void ExpectNextAsScanned(const Scan& scan, absl::TimeZone zone, std::mt19937& random, Matches matches, Next next) {
  std::optional<absl::Time> expected;
  for (int i = Scan::kMinutes - 1; i > 0; --i) {
    if (expected.has_value() && IsOfInterest(i, random)) {
      const absl::Time after = scan.At(i) + absl::Milliseconds(random() % 2 == 0 ? 0 : random() % 60'000);
      ASSERT_EQ(Text(next(after), zone), Text(expected, zone)) << Text(after, zone);
    }
    if (matches(i)) expected = scan.At(i);
  }
  EXPECT_TRUE(expected.has_value());
}

TEST(NextLocalTime, IsWhatAScanOfEveryMinuteFinds) {
  ForEachChange([](const Scan& scan, absl::TimeZone zone, std::mt19937& random) {
    for (int n = 0; n < 12; ++n) {
      const int64_t week = (scan.Shown(Scan::kChange) + static_cast<int64_t>(random() % 480) - 240) % kWeek;
      const bool weekly = n % 2 == 0;
      const int64_t period = weekly ? kWeek : kDay;
      std::optional<absl::Weekday> weekday;
      if (weekly) weekday = static_cast<absl::Weekday>(week / kDay);
      ExpectNextAsScanned(
          scan, zone, random,
          [&](int i) { return scan.IsFirst(i, [&](int64_t local) { return local % period == week % period; }); },
          [&](absl::Time after) { return NextLocalTime(after, static_cast<int>(week % kDay), weekday, zone); });
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(NextLocalHour, IsWhatAScanOfEveryMinuteFinds) {
  ForEachChange([](const Scan& scan, absl::TimeZone zone, std::mt19937& random) {
    ExpectNextAsScanned(
        scan, zone, random,
        [&](int i) {
          return scan.Shown(i) % 60 == 0 || scan.IsFirst(i, [](int64_t local) { return local % 60 == 0; });
        },
        [&](absl::Time after) { return NextLocalHour(after, zone); });
  });
}

}  // namespace
}  // namespace carillon
