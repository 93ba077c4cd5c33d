// Quiet hours and the times of digests, by a recipient's own clock.
//
// When clocks change: a local time that they skip is the moment at which they do so. A
// span begins when its start is first shown and ends when its end is last shown, so it
// never stops and begins again while clocks go back. What is skipped whole is not quiet.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace carillon {

// Every week, from the minute `start` of a local day to `end`.
struct QuietSpan {
  absl::Weekday day = absl::Weekday::monday;  // On which it begins.
  int start_minute = 0;                       // 0 to 1439.
  int end_minute = 0;                         // 0 to 1440. At or before the start: it ends on the next day.

  friend bool operator==(const QuietSpan&, const QuietSpan&) = default;
};

// Immutable.
class QuietHours {
 public:
  QuietHours() = default;  // None.
  // At most limits::kMaxQuietSpans, in any order; they may overlap, but must leave a
  // minute of the week open, or what is held would stay so for ever.
  static absl::StatusOr<QuietHours> Make(std::vector<QuietSpan> spans);

  // Until when it is quiet: the end of all that is quiet without a break from `now` on.
  // Nothing if it is not quiet. At most 7 days ahead, and as much more as clocks go back
  // in them; a week more where their change swallows the week's only opening.
  std::optional<absl::Time> QuietUntil(absl::Time now, absl::TimeZone zone) const;

  bool empty() const { return spans_.empty(); }
  const std::vector<QuietSpan>& spans() const { return spans_; }  // As given.

  friend bool operator==(const QuietHours& a, const QuietHours& b) { return a.spans_ == b.spans_; }

 private:
  // Spans that touch, as one: minutes of the week, from Monday. The end may lie in the next.
  struct Run {
    int start;
    int end;
  };

  QuietHours(std::vector<QuietSpan> spans, std::vector<Run> runs) : spans_(std::move(spans)), runs_(std::move(runs)) {}
  static std::vector<Run> Merge(const std::vector<QuietSpan>& spans);

  std::vector<QuietSpan> spans_;
  std::vector<Run> runs_;  // In order, with openings in between.
};

// The first moment after `after` at which local clocks show this minute (0 to 1439) of a
// day, or of that day of the week. Where they show it twice, the second time does not count.
// Infinite times stay so, here and below.
absl::Time NextLocalTime(absl::Time after, int minute_of_day, std::optional<absl::Weekday> weekday,
                         absl::TimeZone zone);
// The same for a full hour, but one that is shown twice counts twice: an hour has passed.
absl::Time NextLocalHour(absl::Time after, absl::TimeZone zone);

}  // namespace carillon
