// Schedules as crontab(5) of cronie spells them: 30 9 * * MON-FRI.
//
//   minute        0-59
//   hour          0-23
//   day_of_month  1-31
//   month         1-12 or JAN-DEC
//   day_of_week   0-7 or SUN-SAT; 0 and 7 are Sunday
//
// A field is a list (1,15) of *, values and ranges (9-17). A range runs forward, but may
// end on Sunday by any of its names (FRI-SUN). A step (*/5, 9-17/2) follows * or a range,
// never a value, and is at most the number of values: */90 would be every hour. Names
// are read in any case. Instead of fields: @hourly, @daily or @midnight, @weekly,
// @monthly, @yearly or @annually.
//
// If neither day_of_month nor day_of_week begins with *, a day that matches either of them
// counts; else it must match both (crontab(5), "Note"; find_jobs in cronie's src/cron.c).
//
// When clocks change (cron(8) of cronie, "Daylight Saving Time and other time changes"):
// - A time that they skip is the moment at which they do so: once, however many match.
// - A time that they show twice is the first of the two.
// - If hour begins with *, it is meant to be every so often: every matching time that they
//   show counts, twice if they show it twice, and none that they skip.
// cronie goes by * in minute as well, and takes a change of more than three hours for a
// clock that was wrong. We don't: */5 2 * * * names its hour, and what a zone did is known
// (Pacific/Apia skipped 30 December 2011).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace carillon {

// Immutable.
class CronExpression {
 public:
  // Of at most limits::kMaxCronBytes. INVALID_ARGUMENT names the field, what was given and
  // what is allowed.
  static absl::StatusOr<CronExpression> Parse(absl::string_view text);

  // The first time after `after`. Nothing if there is none within 10 years (February 30
  // never comes, a February 29 that is a Sunday every 28), or if `after` is not in the
  // years 1 to 9999, which a Timestamp holds.
  std::optional<absl::Time> Next(absl::Time after, absl::TimeZone zone) const;

  // The same fields, however they are spelled.
  friend bool operator==(const CronExpression& a, const CronExpression& b) { return a.fields_ == b.fields_; }

 private:
  // Sets of values: bit n is set if n is in it. None is empty.
  struct Fields {
    uint64_t minutes = 0;
    uint32_t hours = 0;
    uint32_t days = 0;
    uint16_t months = 0;
    uint8_t weekdays = 0;     // From Sunday.
    bool either_day = false;  // One of days and weekdays is enough.
    bool every_so_often = false;

    friend bool operator==(const Fields&, const Fields&) = default;
  };

  explicit CronExpression(const Fields& fields) : fields_(fields) {}

  std::optional<absl::Time> NextAppointed(absl::Time after, absl::CivilSecond end, absl::TimeZone zone) const;
  std::optional<absl::Time> NextShown(absl::Time after, absl::CivilSecond end, absl::TimeZone zone) const;
  // The first that matches, not before `from` and before `end`, of clocks that never change.
  std::optional<absl::CivilMinute> FirstMatch(absl::CivilMinute from, absl::CivilSecond end) const;
  std::optional<absl::CivilDay> FirstDay(absl::CivilDay from, absl::CivilSecond end) const;
  std::optional<absl::CivilMinute> FirstMinuteOfDay(absl::CivilMinute from) const;
  uint32_t DaysOf(absl::CivilMonth month) const;

  Fields fields_;
};

}  // namespace carillon
