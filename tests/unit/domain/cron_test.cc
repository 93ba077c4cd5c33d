#include "carillon/domain/cron.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using testing::IsOk;
using testing::IsOkAndHolds;
using testing::StatusIs;
using ::testing::StrEq;

absl::TimeZone Zone(const std::string& name) {
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone(name, &zone)) << name;
  return zone;
}

// With its offset, so that a time that is shown twice is no riddle: 2026-10-25T02:30:00+01:00.
absl::Time Moment(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << text << ": " << error;
  return time;
}

std::string ToText(std::optional<absl::Time> time, absl::TimeZone zone) {
  return time.has_value() ? absl::FormatTime(absl::RFC3339_full, *time, zone) : "none";
}

struct Row {
  const char* expression;
  const char* zone;
  const char* after;
  std::vector<const char*> next;  // One after the other.
};

void ExpectNext(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    SCOPED_TRACE(absl::StrCat(row.expression, " in ", row.zone, " after ", row.after));
    const absl::StatusOr<CronExpression> expression = CronExpression::Parse(row.expression);
    ASSERT_OK(expression);
    const absl::TimeZone zone = Zone(row.zone);
    absl::Time after = Moment(row.after);
    for (const char* expected : row.next) {
      const std::optional<absl::Time> next = expression->Next(after, zone);
      ASSERT_EQ(ToText(next, zone), expected);
      after = next.value_or(after);
    }
  }
}

TEST(CronExpression, SaysWhatIsWrongAndWhatIsAllowed) {
  for (const auto& [text, fault] : std::vector<std::pair<const char*, const char*>>{
           {"", "must have 5 fields (minute hour day_of_month month day_of_week), not 0"},
           {" \t ", "must have 5 fields (minute hour day_of_month month day_of_week), not 0"},
           {"* * * *", "must have 5 fields (minute hour day_of_month month day_of_week), not 4"},
           {"0 0 12 * * *", "must have 5 fields (minute hour day_of_month month day_of_week), not 6"},
           {"@daily @daily", "must have 5 fields (minute hour day_of_month month day_of_week), not 2"},
           {"@daily * * * *", "minute: @daily is not 0 to 59"},
           {"60 * * * *", "minute: 60 is not 0 to 59"},
           {"-1 * * * *", "minute: an empty value is not 0 to 59"},
           {"+1 * * * *", "minute: +1 is not 0 to 59"},
           {"1.5 * * * *", "minute: 1.5 is not 0 to 59"},
           {"99999999999999999999 * * * *", "minute: 99999999999999999999 is not 0 to 59"},
           {"JAN * * * *", "minute: JAN is not 0 to 59"},
           {", * * * *", "minute: an empty value is not 0 to 59"},
           {"1,,2 * * * *", "minute: an empty value is not 0 to 59"},
           {"1, * * * *", "minute: an empty value is not 0 to 59"},
           {"1- * * * *", "minute: an empty value is not 0 to 59"},
           {"1-2-3 * * * *", "minute: 2-3 is not 0 to 59"},
           {"*-5 * * * *", "minute: * is not 0 to 59"},
           {"** * * * *", "minute: ** is not 0 to 59"},
           {"30-10 * * * *", "minute: 30-10 ends before it begins; a list can hold two ranges"},
           {"5/10 * * * *", "minute: 5/10 has a step, which only * or a range may have"},
           {"*/ * * * *", "minute: the step an empty value is not 1 to 60"},
           {"*/0 * * * *", "minute: the step 0 is not 1 to 60"},
           {"*/-5 * * * *", "minute: the step -5 is not 1 to 60"},
           {"*/61 * * * *", "minute: the step 61 is not 1 to 60"},
           {"1-9/2/3 * * * *", "minute: the step 2/3 is not 1 to 60"},
           {"/5 * * * *", "minute: an empty value is not 0 to 59"},
           {"* 24 * * *", "hour: 24 is not 0 to 23"},
           {"* */25 * * *", "hour: the step 25 is not 1 to 24"},
           {"* * 0 * *", "day_of_month: 0 is not 1 to 31"},
           {"* * 32 * *", "day_of_month: 32 is not 1 to 31"},
           {"* * L * *", "day_of_month: L is not 1 to 31"},
           {"* * ? * *", "day_of_month: ? is not 1 to 31"},
           {"* * * 0 *", "month: 0 is not 1 to 12 or JAN to DEC"},
           {"* * * 13 *", "month: 13 is not 1 to 12 or JAN to DEC"},
           {"* * * MARCH *", "month: MARCH is not 1 to 12 or JAN to DEC"},
           {"* * * MON *", "month: MON is not 1 to 12 or JAN to DEC"},
           {"* * * */JAN *", "month: the step JAN is not 1 to 12"},
           {"* * * * 8", "day_of_week: 8 is not 0 to 7 or SUN to SAT"},
           {"* * * * 1#2", "day_of_week: 1#2 is not 0 to 7 or SUN to SAT"},
           {"* * * * */8", "day_of_week: the step 8 is not 1 to 7"},
           {"* * * * SAT-MON", "day_of_week: SAT-MON ends before it begins; a list can hold two ranges"},
           {"* * * * 7-1", "day_of_week: 7-1 ends before it begins; a list can hold two ranges"},
           {"* * * * \n", "day_of_week: \\n is not 0 to 7 or SUN to SAT"},
           {"* * * * \xff\"", "day_of_week: \\xff\\\" is not 0 to 7 or SUN to SAT"},
           {"@reboot", "@reboot is not @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"},
           {"@", "@ is not @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"},
           {"@Daily", "@Daily is not @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"},
       }) {
    EXPECT_THAT(CronExpression::Parse(text), StatusIs(absl::StatusCode::kInvalidArgument, StrEq(fault)));
  }
  EXPECT_THAT(CronExpression::Parse(absl::string_view("0\0 0 * * *", 10)),
              StatusIs(absl::StatusCode::kInvalidArgument, StrEq("minute: 0\\x00 is not 0 to 59")));
}

TEST(CronExpression, IsRefusedIfItIsTooLong) {
  const std::string longest = absl::StrCat(std::string(limits::kMaxCronBytes - 9, ' '), "* * * * *");
  EXPECT_THAT(CronExpression::Parse(longest), IsOk());
  EXPECT_THAT(CronExpression::Parse(longest + " "),
              StatusIs(absl::StatusCode::kInvalidArgument, StrEq("must be at most 100 bytes, not 101")));
}

TEST(CronExpression, EqualsWhatMeansTheSame) {
  for (const auto& [text, same] : std::vector<std::pair<const char*, const char*>>{
           {"@hourly", "0 * * * *"},
           {"@daily", "0 0 * * *"},
           {"@midnight", "0 0 * * *"},
           {"@weekly", "0 0 * * 0"},
           {"@monthly", "0 0 1 * *"},
           {"@yearly", "0 0 1 1 *"},
           {"@annually", "0 0 1 1 *"},
           {" \t@daily ", "@daily"},
           {"  05\t04 *  * * ", "5 4 * * *"},
           {"*/20 * * * *", "0,20,40 * * * *"},
           {"1-30/7 * * * *", "1,8,15,22,29 * * * *"},
           {"*/60 */24 */31 */12 */7", "0 */24 */31 */12 */7"},
           {"5,1-3,2 * * * *", "1,2,3,5 * * * *"},
           {"7-7 * * * *", "7 * * * *"},
           {"0 0 * jan,Feb,MAR-may *", "0 0 * 1-5 *"},
           {"0 0 * * SUN", "0 0 * * 7"},
           {"0 0 * * 0", "0 0 * * 7"},
           {"0 0 * * sun-Tue", "0 0 * * 0-2"},
           {"0 0 * * FRI-SUN", "0 0 * * 5-7"},
           {"0 0 * * 5-0", "0 0 * * 5,6,0"},
           {"0 0 * * SUN-SUN", "0 0 * * 0"},
           {"0 0 * * 0-7", "0 0 * * 1-7"},
           {"0 0 * * MON-SUN/2", "0 0 * * 1,3,5,7"},
       }) {
    ASSERT_OK_AND_ASSIGN(const CronExpression expression, CronExpression::Parse(text));
    ASSERT_OK_AND_ASSIGN(const CronExpression other, CronExpression::Parse(same));
    EXPECT_EQ(expression, other) << text;
  }
}

TEST(CronExpression, DiffersFromWhatMeansAnother) {
  ASSERT_OK_AND_ASSIGN(const CronExpression expression, CronExpression::Parse("0 0 1 1 1"));
  for (const char* text : {"1 0 1 1 1", "0 1 1 1 1", "0 0 2 1 1", "0 0 1 2 1", "0 0 1 1 2", "0 0 1 1 *"}) {
    ASSERT_OK_AND_ASSIGN(const CronExpression other, CronExpression::Parse(text));
    EXPECT_FALSE(expression == other) << text;
  }
}

TEST(CronExpression, FindsTheFirstTimeAfterAMoment) {
  ExpectNext({
      {"* * * * *",
       "UTC",
       "2026-01-01T00:00:00Z",
       {"2026-01-01T00:01:00+00:00", "2026-01-01T00:02:00+00:00", "2026-01-01T00:03:00+00:00"}},
      {"* * * * *", "UTC", "2026-01-01T00:00:59.999999999Z", {"2026-01-01T00:01:00+00:00"}},
      {"* * * * *", "UTC", "2026-01-01T00:00:00.000000001Z", {"2026-01-01T00:01:00+00:00"}},
      {"0 0 1 1 *", "UTC", "2025-12-31T23:59:59.999Z", {"2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"}},
      {"59 23 31 12 *", "UTC", "2025-12-31T23:58:59Z", {"2025-12-31T23:59:00+00:00", "2026-12-31T23:59:00+00:00"}},
      {"*/25 */10 * * *",
       "UTC",
       "2026-01-01T20:24:00Z",
       {"2026-01-01T20:25:00+00:00", "2026-01-01T20:50:00+00:00", "2026-01-02T00:00:00+00:00",
        "2026-01-02T00:25:00+00:00"}},
      {"15 9-11/2 * * MON-FRI",
       "Asia/Kathmandu",
       "2026-07-31T09:15:00+05:45",
       {"2026-07-31T11:15:00+05:45", "2026-08-03T09:15:00+05:45"}},
      {"0 12 * * *", "America/St_Johns", "2026-06-01T12:00:00-02:30", {"2026-06-02T12:00:00-02:30"}},
      {"0 9 * 1,7 *", "UTC", "2026-01-31T09:00:00Z", {"2026-07-01T09:00:00+00:00"}},
      {"0 0 * 2 *", "UTC", "2026-12-31T23:59:00Z", {"2027-02-01T00:00:00+00:00"}},
      {"30 8 * * 7", "UTC", "2026-01-01T00:00:00Z", {"2026-01-04T08:30:00+00:00", "2026-01-11T08:30:00+00:00"}},
      {"30 8 * * 0", "UTC", "2026-01-01T00:00:00Z", {"2026-01-04T08:30:00+00:00", "2026-01-11T08:30:00+00:00"}},
      {"0 0 * * SAT-SUN",
       "UTC",
       "2026-01-01T00:00:00Z",
       {"2026-01-03T00:00:00+00:00", "2026-01-04T00:00:00+00:00", "2026-01-10T00:00:00+00:00"}},
  });
}

TEST(CronExpression, KnowsHowLongMonthsAre) {
  ExpectNext({
      {"0 0 31 * *",
       "UTC",
       "2026-01-31T00:00:00Z",
       {"2026-03-31T00:00:00+00:00", "2026-05-31T00:00:00+00:00", "2026-07-31T00:00:00+00:00",
        "2026-08-31T00:00:00+00:00"}},
      {"0 0 28-31 2 *",
       "UTC",
       "2027-02-28T00:00:00Z",
       {"2028-02-28T00:00:00+00:00", "2028-02-29T00:00:00+00:00", "2029-02-28T00:00:00+00:00"}},
      {"0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", {"2104-02-29T00:00:00+00:00"}},
      {"0 0 29 2 *", "UTC", "1996-02-29T00:00:00Z", {"2000-02-29T00:00:00+00:00"}},
      {"0 0 29 2 */7", "UTC", "2026-01-01T00:00:00Z", {"2032-02-29T00:00:00+00:00", "none"}},
  });
}

TEST(CronExpression, IsOfEitherDayIfBothAreRestricted) {
  ExpectNext({
      {"30 4 1,15 * 5",
       "UTC",
       "2026-05-01T04:30:00Z",
       {"2026-05-08T04:30:00+00:00", "2026-05-15T04:30:00+00:00", "2026-05-22T04:30:00+00:00",
        "2026-05-29T04:30:00+00:00", "2026-06-01T04:30:00+00:00"}},
      // February has no 30th, but it has Mondays.
      {"0 0 30 2 MON", "UTC", "2026-01-01T00:00:00Z", {"2026-02-02T00:00:00+00:00"}},
      // A field that begins with * restricts nothing for this rule, whatever follows.
      {"0 0 */2 * FRI", "UTC", "2026-05-01T00:00:00Z", {"2026-05-15T00:00:00+00:00", "2026-05-29T00:00:00+00:00"}},
      {"0 0 13 * */5", "UTC", "2026-01-01T00:00:00Z", {"2026-02-13T00:00:00+00:00", "2026-03-13T00:00:00+00:00"}},
      {"0 0 1,* * FRI", "UTC", "2026-05-01T00:00:00Z", {"2026-05-02T00:00:00+00:00"}},
  });
}

TEST(CronExpression, FindsNothingWhereNothingIs) {
  ExpectNext({
      {"0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", {"none"}},
      {"0 * 30 2 *", "Europe/Berlin", "2026-01-01T00:00:00Z", {"none"}},
      {"0 0 31 2,4,6,9,11 *", "UTC", "2026-01-01T00:00:00Z", {"none"}},
      {"* * * * *", "UTC", "9999-12-31T23:59:00Z", {"10000-01-01T00:00:00+00:00", "none"}},
      {"* * * * *", "UTC", "0000-12-31T23:59:59Z", {"none"}},
  });
  ASSERT_OK_AND_ASSIGN(const CronExpression expression, CronExpression::Parse("* 1 * * *"));
  ASSERT_OK_AND_ASSIGN(const CronExpression running, CronExpression::Parse("* * * * *"));
  for (const absl::Time time : {absl::InfiniteFuture(), absl::InfinitePast(), absl::FromUnixSeconds(INT64_MAX),
                                absl::FromUnixSeconds(INT64_MIN)}) {
    EXPECT_EQ(expression.Next(time, Zone("Europe/Berlin")), std::nullopt);
    EXPECT_EQ(running.Next(time, Zone("Europe/Berlin")), std::nullopt);
  }
}

TEST(CronExpression, MakesUpOnceForWhatClocksSkip) {
  ExpectNext({
      {"30 2 * * *",
       "Europe/Berlin",
       "2026-03-28T02:30:00+01:00",
       {"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
      {"0 2 * * *", "Europe/Berlin", "2026-03-29T01:59:59+01:00", {"2026-03-29T03:00:00+02:00"}},
      {"59 2 * * *", "America/New_York", "2026-03-08T01:59:00-05:00", {"2026-03-08T03:00:00-04:00"}},
      // Once, also if the moment of the change matches by itself.
      {"*/10 2 * * *",
       "Europe/Berlin",
       "2026-03-28T02:50:00+01:00",
       {"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
      {"0,30 2,3 * * *",
       "Europe/Berlin",
       "2026-03-29T00:00:00+01:00",
       {"2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:00:00+02:00"}},
      {"30 0-23 * * *",
       "Europe/Berlin",
       "2026-03-29T01:00:00+01:00",
       {"2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"}},
      // Half an hour, from 2:00 to 2:30.
      {"15 2 * * *",
       "Australia/Lord_Howe",
       "2026-10-03T02:15:00+10:30",
       {"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
      {"45 2 * * *", "Australia/Lord_Howe", "2026-10-03T02:45:00+10:30", {"2026-10-04T02:45:00+11:00"}},
      // A quarter of an hour, once and for all.
      {"10 0 1 1 *", "Asia/Kathmandu", "1985-06-01T00:00:00+05:30", {"1986-01-01T00:15:00+05:45"}},
      // Midnight itself.
      {"@daily",
       "Asia/Beirut",
       "2026-03-28T00:00:00+02:00",
       {"2026-03-29T01:00:00+03:00", "2026-03-30T00:00:00+03:00"}},
      // A day.
      {"0 12 * * *",
       "Pacific/Apia",
       "2011-12-29T00:00:00-10:00",
       {"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
      {"0 9 30 12 *",
       "Pacific/Apia",
       "2011-12-01T00:00:00-10:00",
       {"2011-12-31T00:00:00+14:00", "2012-12-30T09:00:00+14:00"}},
      {"0 9 * * FRI",
       "Pacific/Apia",
       "2011-12-23T09:00:00-10:00",
       {"2011-12-31T00:00:00+14:00", "2012-01-06T09:00:00+14:00"}},
      // Not on a full minute: six minutes and 32 seconds, the end of local mean time.
      {"5 0 1 4 *", "Europe/Berlin", "1893-01-01T00:00:00Z", {"1893-04-01T00:06:32+01:00"}},
  });
}

TEST(CronExpression, TakesTheFirstOfTimesThatClocksShowTwice) {
  ExpectNext({
      {"30 2 * * *",
       "Europe/Berlin",
       "2026-10-24T02:30:00+02:00",
       {"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
      // Asked in between, and while they are shown again.
      {"30 2 * * *", "Europe/Berlin", "2026-10-25T02:00:00+01:00", {"2026-10-26T02:30:00+01:00"}},
      {"30 2 * * *", "Europe/Berlin", "2026-10-25T02:45:00+01:00", {"2026-10-26T02:30:00+01:00"}},
      {"*/30 2,3 * * *",
       "Europe/Berlin",
       "2026-10-25T02:00:00+02:00",
       {"2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00", "2026-10-25T03:30:00+01:00"}},
      {"0 0-23 * * *",
       "America/New_York",
       "2026-11-01T00:00:00-04:00",
       {"2026-11-01T01:00:00-04:00", "2026-11-01T02:00:00-05:00"}},
      // Half an hour, from 2:00 back to 1:30.
      {"45 1 * * *",
       "Australia/Lord_Howe",
       "2026-04-04T01:45:00+11:00",
       {"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
      {"15 1 * * *", "Australia/Lord_Howe", "2026-04-05T01:00:00+11:00", {"2026-04-05T01:15:00+11:00"}},
      // Midnight itself: 1:00 is 0:00 again.
      {"@daily",
       "America/Havana",
       "2026-10-31T00:00:00-04:00",
       {"2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"}},
      // A day: Kwajalein had two 30th of September in 1969.
      {"0 12 * * *",
       "Pacific/Kwajalein",
       "1969-09-29T12:00:00+11:00",
       {"1969-09-30T12:00:00+11:00", "1969-10-01T12:00:00-12:00"}},
  });
}

TEST(CronExpression, GoesWithTheClocksIfItIsEverySoOften) {
  ExpectNext({
      {"30 * * * *",
       "Europe/Berlin",
       "2026-03-29T00:30:00+01:00",
       {"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
      {"0 */2 * * *",
       "Europe/Berlin",
       "2026-03-29T00:00:00+01:00",
       {"2026-03-29T04:00:00+02:00", "2026-03-29T06:00:00+02:00"}},
      {"@hourly",
       "Europe/Berlin",
       "2026-10-25T01:00:00+02:00",
       {"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
      {"*/30 * * * *",
       "America/New_York",
       "2026-11-01T01:00:00-04:00",
       {"2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:30:00-05:00",
        "2026-11-01T02:00:00-05:00"}},
      {"15 */2 * * *",
       "Europe/Berlin",
       "2026-10-25T02:15:00+02:00",
       {"2026-10-25T02:15:00+01:00", "2026-10-25T04:15:00+01:00"}},
      // Half an hour: 1:45 comes twice, 1:15 once; 2:15 is skipped.
      {"15,45 * * * *",
       "Australia/Lord_Howe",
       "2026-04-05T01:00:00+11:00",
       {"2026-04-05T01:15:00+11:00", "2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30",
        "2026-04-05T02:15:00+10:30"}},
      {"15,45 * * * *",
       "Australia/Lord_Howe",
       "2026-10-04T01:45:00+10:30",
       {"2026-10-04T02:45:00+11:00", "2026-10-04T03:15:00+11:00"}},
      // The moment of the change itself, twice on the clock, and from afar.
      {"0 */2 1 11 *",
       "America/Havana",
       "2026-06-01T00:00:00-04:00",
       {"2026-11-01T00:00:00-04:00", "2026-11-01T00:00:00-05:00", "2026-11-01T02:00:00-05:00"}},
      {"0 */12 * * *",
       "Pacific/Apia",
       "2011-12-29T12:00:00-10:00",
       {"2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
      {"* * 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00-10:00", {"2012-12-30T00:00:00+14:00"}},
      // Six minutes and 32 seconds: 0:06 is skipped, 0:07 is not.
      {"6,7 * * * *",
       "Europe/Berlin",
       "1893-03-31T22:30:00Z",
       {"1893-04-01T00:07:00+01:00", "1893-04-01T01:06:00+01:00"}},
  });
}

// --- Against a clock that is watched every minute.

// An expression and what it means, both made from the same draws.
struct Drawn {
  std::vector<std::string> texts;
  std::vector<std::set<int>> sets;

  bool Begins(size_t field) const { return texts[field].front() == '*'; }
  bool Matches(absl::CivilMinute time) const {
    const int weekday = (static_cast<int>(absl::GetWeekday(absl::CivilDay(time))) + 1) % 7;
    const bool in_days = sets[2].contains(time.day());
    const bool in_weekdays = sets[4].contains(weekday) || (weekday == 0 && sets[4].contains(7));
    const bool either = !Begins(2) && !Begins(4);
    return sets[0].contains(time.minute()) && sets[1].contains(time.hour()) && sets[3].contains(time.month()) &&
           (either ? in_days || in_weekdays : in_days && in_weekdays);
  }
  std::string Text() const { return absl::StrJoin(texts, " "); }
};

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}

  int Number(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random_); }
  bool OneIn(int count) { return Number(1, count) == 1; }
  absl::Time Between(absl::Time from, absl::Time to) {
    return from + std::uniform_real_distribution<double>(0, 1)(random_) * (to - from);
  }

  Drawn Expression() {
    Drawn drawn{std::vector<std::string>(5), std::vector<std::set<int>>(5)};
    Field(0, 59, 3, drawn.texts[0], drawn.sets[0]);
    // Few clocks change in the afternoon.
    Field(0, OneIn(3) ? 23 : 4, 3, drawn.texts[1], drawn.sets[1], 23);
    Field(1, 31, 2, drawn.texts[2], drawn.sets[2]);
    Field(1, 12, 2, drawn.texts[3], drawn.sets[3]);
    Field(0, 7, 2, drawn.texts[4], drawn.sets[4]);
    return drawn.Text().size() <= limits::kMaxCronBytes ? drawn : Expression();
  }

  // Bytes that are likely to be read as something, or any.
  std::string Bytes(int size) {
    constexpr absl::string_view kLikely = "0123456789****  \t,,--//SUNMONJANdec@daily?L#";
    std::string bytes;
    for (int i = 0; i < size; ++i) {
      bytes += OneIn(8) ? static_cast<char>(Number(0, 255)) : kLikely[Number(0, static_cast<int>(kLikely.size()) - 1)];
    }
    return bytes;
  }

  // Replaces, inserts and erases some bytes.
  void Mutate(std::string& text) {
    for (int changes = Number(1, 2); changes > 0; --changes) {
      const int at = Number(0, static_cast<int>(text.size()));
      text.replace(at, Number(0, 1), Bytes(Number(0, 1)));
    }
  }

 private:
  static void Add(int first, int last, int step, std::set<int>& values) {
    for (int value = first; value <= last; value += step) values.insert(value);
  }

  // Of values up to `most`, of a field that ends at `last`; * about once in `stars`.
  void Field(int least, int most, int stars, std::string& text, std::set<int>& values, int last = 0) {
    last = std::max(last, most);
    if (OneIn(stars)) {
      const int step = OneIn(2) ? 1 : Number(1, std::min(last, 7));
      Add(least, last, step, values);
      text = step == 1 ? "*" : absl::StrCat("*/", step);
      return;
    }
    std::vector<std::string> elements(Number(1, 3));
    for (std::string& element : elements) element = Element(least, most, values);
    text = absl::StrJoin(elements, ",");
  }

  std::string Element(int least, int most, std::set<int>& values) {
    const int first = Number(least, most);
    if (OneIn(2)) {
      values.insert(first);
      return absl::StrCat(first);
    }
    const int last = Number(first, most), step = OneIn(2) ? 1 : Number(1, 5);
    Add(first, last, step, values);
    return absl::StrCat(first, "-", last, step == 1 ? "" : absl::StrCat("/", step));
  }

  std::mt19937 random_;
};

// What a clock shows, minute by minute, from a day and a half before it changes until as long after.
class WatchedClock {
 public:
  WatchedClock(const std::string& zone, const std::string& change)
      : zone_(Zone(zone)), begin_(Moment(change) - absl::Hours(36)), end_(Moment(change) + absl::Hours(36)) {
    for (absl::Time time = begin_; time < end_; time += absl::Minutes(1)) {
      shown_.push_back(absl::ToCivilMinute(time, zone_));
    }
  }

  absl::TimeZone zone() const { return zone_; }
  absl::Time begin() const { return begin_; }
  absl::Time end() const { return end_; }

  std::vector<absl::Time> MomentsOf(const Drawn& drawn) const {
    std::vector<absl::Time> moments;
    absl::CivilMinute latest = shown_.front() - 1;
    for (size_t i = 0; i < shown_.size(); ++i) {
      bool matches = drawn.Begins(1) && drawn.Matches(shown_[i]);
      // Skipped ones are caught up with, repeated ones are not new.
      for (; latest < shown_[i]; ++latest) matches |= !drawn.Begins(1) && drawn.Matches(latest + 1);
      if (matches) moments.push_back(begin_ + absl::Minutes(i));
    }
    return moments;
  }

 private:
  const absl::TimeZone zone_;
  const absl::Time begin_;
  const absl::Time end_;
  std::vector<absl::CivilMinute> shown_;
};

std::vector<WatchedClock> WatchedClocks() {
  return {{"UTC", "2028-02-29T00:00:00Z"},
          {"Europe/Berlin", "2026-03-29T01:00:00Z"},
          {"Europe/Berlin", "2026-10-25T01:00:00Z"},
          {"America/New_York", "2026-03-08T07:00:00Z"},
          {"America/New_York", "2026-11-01T06:00:00Z"},
          {"Australia/Lord_Howe", "2026-04-04T15:00:00Z"},
          {"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
          {"Asia/Kathmandu", "1985-12-31T18:30:00Z"},
          {"Asia/Kathmandu", "2026-12-31T18:15:00Z"},
          {"America/Havana", "2026-11-01T05:00:00Z"},
          {"Pacific/Apia", "2011-12-30T10:00:00Z"}};
}

TEST(CronExpression, AgreesWithAClockThatIsWatchedEveryMinute) {
  Draw draw(1);
  size_t compared = 0;
  for (const WatchedClock& clock : WatchedClocks()) {
    for (int i = 0; i < 200; ++i) {
      const Drawn drawn = draw.Expression();
      SCOPED_TRACE(absl::StrCat(drawn.Text(), " in ", clock.zone().name()));
      ASSERT_OK_AND_ASSIGN(const CronExpression expression, CronExpression::Parse(drawn.Text()));
      const std::vector<absl::Time> expected = clock.MomentsOf(drawn);
      std::vector<absl::Time> found;
      auto next = expression.Next(clock.begin() - absl::Nanoseconds(1), clock.zone());
      for (; next.has_value() && *next < clock.end(); next = expression.Next(*next, clock.zone())) {
        found.push_back(*next);
      }
      ASSERT_EQ(found, expected);
      compared += found.size();
      // From anywhere in between.
      for (int asked = 0; asked < 20 && !expected.empty(); ++asked) {
        const absl::Time after = draw.Between(clock.begin(), expected.back());
        ASSERT_EQ(expression.Next(after, clock.zone()), *std::upper_bound(expected.begin(), expected.end(), after));
      }
    }
  }
  EXPECT_GT(compared, 10'000);
}

// --- Whatever is given.

// What must hold of any expression, asked from any moment.
void ExpectGoesOn(const CronExpression& expression, absl::Time after, absl::TimeZone zone, Draw& draw) {
  for (int i = 0; i < 4; ++i) {
    const std::optional<absl::Time> next = expression.Next(after, zone);
    if (!next.has_value()) return;
    ASSERT_GT(*next, after);
    ASSERT_LE(*next, after + absl::Hours(24 * 366 * 10));
    ASSERT_EQ(expression.Next(draw.Between(after, *next - absl::Nanoseconds(1)), zone), next);
    after = *next;
  }
}

// True if it is an expression.
bool ExpectReadOrRefused(const std::string& text, absl::TimeZone zone, Draw& draw) {
  SCOPED_TRACE(::testing::PrintToString(text));
  const absl::StatusOr<CronExpression> expression = CronExpression::Parse(text);
  if (!expression.ok()) {
    EXPECT_EQ(expression.status().code(), absl::StatusCode::kInvalidArgument);
    const absl::string_view fault = expression.status().message();
    EXPECT_FALSE(fault.empty());
    EXPECT_TRUE(std::all_of(fault.begin(), fault.end(), absl::ascii_isprint)) << fault;
    return false;
  }
  ExpectGoesOn(*expression, draw.Between(Moment("1970-01-01T00:00:00Z"), Moment("2100-01-01T00:00:00Z")), zone, draw);
  return true;
}

TEST(CronExpression, SurvivesAnyBytes) {
  Draw draw(2);
  for (int i = 0; i < 50'000; ++i) ExpectReadOrRefused(draw.Bytes(draw.Number(0, 110)), absl::UTCTimeZone(), draw);
}

TEST(CronExpression, GoesOnWhateverIsReadOfWhatIsAlmostRight) {
  Draw draw(3);
  int read = 0;
  for (const char* name : {"UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"}) {
    const absl::TimeZone zone = Zone(name);
    for (int i = 0; i < 10'000; ++i) {
      std::string text = draw.OneIn(10) ? "@weekly" : draw.Expression().Text();
      draw.Mutate(text);
      read += ExpectReadOrRefused(text, zone, draw) ? 1 : 0;
    }
  }
  EXPECT_GT(read, 5'000);
  EXPECT_LT(read, 45'000);
}

}  // namespace
}  // namespace carillon
