#include "client/ctl/pressure_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace carillon::ctl {
namespace {

constexpr int kSparklineColumns = 24;
constexpr const char* kBold = "\x1b[1m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kPlain = "\x1b[0m";

absl::Duration DurationOf(const google::protobuf::Duration& time) {
  return absl::Seconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string RateText(double rate) {
  return rate >= 100 ? CountText(static_cast<int64_t>(rate + 0.5)) : absl::StrFormat("%.1f", rate);
}

// As many characters, each of which takes a column here.
size_t Columns(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string CutTo(const std::string& text, int width) {
  size_t end = 0;
  for (int columns = 0; end < text.size(); ++end) {
    const bool begins = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (begins && ++columns > width) break;
  }
  return text.substr(0, end);
}

enum class Mark { kNone, kHeading, kWarn, kBad };

struct Row {
  std::vector<std::string> cells;
  Mark mark = Mark::kNone;
};

// Lines of a table: the first cell of a row and the last are set left, numbers between them right.
class Grid {
 public:
  explicit Grid(std::vector<std::string> headings) : rows_{{std::move(headings), Mark::kHeading}} {}
  void Add(std::vector<std::string> cells, Mark mark = Mark::kNone) { rows_.push_back({std::move(cells), mark}); }
  void Truncate(size_t rows) { rows_.resize(std::min(rows_.size(), rows + 1)); }
  size_t size() const { return rows_.size() - 1; }

  void Print(const FrameOptions& options, std::vector<std::string>* lines) const {
    std::vector<size_t> widths(rows_.front().cells.size(), 0);
    for (const Row& row : rows_) {
      for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], Columns(row.cells[i]));
    }
    for (const Row& row : rows_) lines->push_back(Line(row, widths, options));
  }

 private:
  static std::string Line(const Row& row, const std::vector<size_t>& widths, const FrameOptions& options) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string pad(widths[i] - Columns(row.cells[i]), ' ');
      const bool left = i == 0 || i + 1 == widths.size();
      absl::StrAppend(&line, i == 0 ? "" : "  ", left ? row.cells[i] : pad, left ? pad : row.cells[i]);
    }
    line = CutTo(std::string(absl::StripTrailingAsciiWhitespace(line)), options.width);
    if (!options.color || row.mark == Mark::kNone) return line;
    return absl::StrCat(row.mark == Mark::kHeading ? kBold : row.mark == Mark::kWarn ? kYellow : kRed, line, kPlain);
  }

  std::vector<Row> rows_;
};

std::string StateOf(const v1::LaneStatus& lane) {
  std::string state = lane.delayed() ? "delayed" : "ok";
  if (lane.delayed()) {
    absl::StrAppend(
        &state, ", ",
        lane.has_estimated_wait() ? absl::StrCat("waits about ", AgeText(lane.estimated_wait())) : "nothing moves");
  }
  if (lane.refused()) state = absl::StrCat(lane.delayed() ? state + "; " : "", "refused at the door");
  return state;
}

Grid Lanes(const v1::ListQueuesResponse& response) {
  Grid grid({"LANE", "OBJECTIVE", "OLDEST", "IN/S", "OUT/S", "BACKLOG", "RETRY", "DEAD", "STATE"});
  for (const v1::LaneStatus& lane : response.lanes()) {
    const Mark mark = lane.refused() ? Mark::kBad : lane.delayed() ? Mark::kWarn : Mark::kNone;
    grid.Add({lane.lane(), AgeText(lane.objective()), AgeText(lane.oldest_age()), RateText(lane.in_rate()),
              RateText(lane.out_rate()), CountText(lane.backlog()), CountText(lane.retrying()), CountText(lane.dead()),
              StateOf(lane)},
             mark);
  }
  return grid;
}

// The recorder consumes every dead-letter queue, and retry queues have no consumers.
bool IsWorkQueue(const v1::Queue& queue) {
  return !absl::EndsWith(queue.name(), ".dlq") && !absl::StrContains(queue.name(), ".retry.") &&
         queue.name() != "unrouted";
}

bool IsIdle(const v1::Queue& queue) {
  return queue.declared() && queue.messages() == 0 && queue.in_rate() < 0.05 && queue.out_rate() < 0.05 &&
         queue.retrying() == 0 && queue.dead() == 0;
}

Grid Queues(const v1::ListQueuesResponse& response, const FrameOptions& options) {
  std::vector<const v1::Queue*> busy;
  for (const v1::Queue& queue : response.queues()) {
    if (!IsIdle(queue)) busy.push_back(&queue);
  }
  std::stable_sort(busy.begin(), busy.end(),
                   [](const v1::Queue* a, const v1::Queue* b) { return a->messages() > b->messages(); });
  Grid grid({"QUEUE", "MESSAGES", "CONSUMERS", "OLDEST", "IN/S", "OUT/S", "RETRY", "DEAD",
             options.sparklines ? "DEPTH" : ""});
  for (const v1::Queue* queue : busy) {
    const bool unserved = queue->messages() > 0 && queue->consumers() == 0 && IsWorkQueue(*queue);
    grid.Add(
        {queue->name(), queue->declared() ? CountText(queue->messages()) : "missing", CountText(queue->consumers()),
         queue->has_oldest_age() ? AgeText(queue->oldest_age()) : "-", RateText(queue->in_rate()),
         RateText(queue->out_rate()), CountText(queue->retrying()), CountText(queue->dead()),
         options.sparklines ? Sparkline(*queue, kSparklineColumns, options.utf8)
         : unserved         ? "no consumer"
                            : ""},
        !queue->declared() || unserved ? Mark::kBad : Mark::kNone);
  }
  return grid;
}

Grid Outbox(const v1::ListQueuesResponse& response) {
  Grid grid({"OUTBOX", "ROWS", "DEFERRED", "OLDEST", "BOUND", ""});
  for (const v1::OutboxLane& lane : response.outbox()) {
    const int64_t rows = lane.rows() + lane.deferred();
    const int64_t percent = lane.bound() > 0 ? rows * 100 / lane.bound() : 0;
    grid.Add({lane.lane(), CountText(lane.rows()), CountText(lane.deferred()), AgeText(lane.oldest_age()),
              CountText(lane.bound()), percent > 0 ? absl::StrCat(percent, " % full") : ""},
             percent >= 90   ? Mark::kBad
             : percent >= 50 ? Mark::kWarn
                             : Mark::kNone);
  }
  return grid;
}

Grid Breakers(const v1::ListQueuesResponse& response) {
  Grid grid({"PROVIDER OUT", "APP", "CHANNEL", "LANE", "BREAKER", "SINCE", "ERROR"});
  for (const v1::Breaker& breaker : response.breakers()) {
    const v1::ProviderHealth& health = breaker.health();
    const absl::string_view channel = v1::Channel_Name(breaker.channel());
    const absl::string_view state = v1::BreakerState_Name(health.breaker());
    grid.Add({breaker.provider(), breaker.app_key(), absl::AsciiStrToLower(absl::StripPrefix(channel, "CHANNEL_")),
              health.lane(), absl::AsciiStrToLower(absl::StripPrefix(state, "BREAKER_STATE_")),
              AgeText(TimeOf(response.sample_time()) - TimeOf(health.since())), health.error()},
             Mark::kBad);
  }
  return grid;
}

// What is too much for the height goes from the end: queues that have least to say first.
void FitHeight(int height, size_t others, Grid* queues, Grid* breakers) {
  if (height <= 0) return;
  const size_t room = static_cast<size_t>(height) > others ? static_cast<size_t>(height) - others : 0;
  if (queues->size() + breakers->size() <= room) return;
  breakers->Truncate(std::max<size_t>(room / 3, room > queues->size() ? room - queues->size() : 0));
  queues->Truncate(room - std::min(room, breakers->size()));
}

}  // namespace

std::string AgeText(absl::Duration age) {
  age = std::max(age, absl::ZeroDuration());
  const int64_t seconds = absl::ToInt64Seconds(age);
  if (seconds < 10) return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(age));
  if (seconds < 60) return absl::StrCat(seconds, " s");
  if (seconds < 600) return absl::StrCat(seconds / 60, " min ", seconds % 60, " s");
  if (seconds < 3600) return absl::StrCat(seconds / 60, " min");
  if (seconds < 86'400) return absl::StrCat(seconds / 3600, " h ", seconds % 3600 / 60, " min");
  return absl::StrCat(seconds / 86'400, " d ", seconds % 86'400 / 3600, " h");
}

std::string AgeText(const google::protobuf::Duration& age) { return AgeText(DurationOf(age)); }

std::string CountText(int64_t count) {
  std::string text = absl::StrCat(count);
  for (int64_t place = static_cast<int64_t>(text.size()) - 3; place > (count < 0 ? 1 : 0); place -= 3) {
    text.insert(static_cast<size_t>(place), 1, ',');
  }
  return text;
}

std::string DelayText(const v1::Delay& delay) {
  const std::string behind = absl::StrCat("delayed: ", delay.queue(), " is ", AgeText(delay.oldest_age()), " behind");
  if (!delay.has_estimated_time()) return absl::StrCat(behind, ", and nothing moves at the moment");
  return absl::StrCat(behind, "; about ",
                      absl::FormatTime("%H:%M:%S UTC", TimeOf(delay.estimated_time()), absl::UTCTimeZone()));
}

std::string Sparkline(const v1::Queue& queue, int columns, bool utf8) {
  static constexpr const char* kBlocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static constexpr const char* kSigns[] = {" ", ".", ":", "-", "=", "+", "*", "%", "#"};
  constexpr int64_t kHighest = 8;
  const int count = queue.history_size();
  if (count == 0) return "";
  int64_t most = 1;
  for (const v1::DepthSample& sample : queue.history()) most = std::max(most, sample.messages());
  const int shown = std::min(count, columns);
  std::string line;
  for (int column = 0; column < shown; ++column) {
    int64_t depth = 0;
    for (int i = count * column / shown; i < count * (column + 1) / shown; ++i) {
      depth = std::max(depth, queue.history(i).messages());
    }
    const int64_t height = (depth * kHighest + most - 1) / most;
    line += (utf8 ? kBlocks : kSigns)[height];
  }
  return line;
}

std::vector<std::string> RenderQueues(const v1::ListQueuesResponse& response, const FrameOptions& options) {
  const Grid lanes = Lanes(response);
  const Grid outbox = Outbox(response);
  Grid queues = Queues(response, options);
  Grid breakers = Breakers(response);
  const int idle = response.queues_size() - static_cast<int>(queues.size());
  // The headings, the lines between the tables, and what says how many are left out.
  const size_t extra = (options.title.empty() ? 0 : 2) + (options.notice.empty() ? 0 : 1) + 3 + 3 + 2;
  FitHeight(options.height, lanes.size() + outbox.size() + extra, &queues, &breakers);
  const int left_out = response.queues_size() - idle - static_cast<int>(queues.size());

  std::vector<std::string> lines;
  if (!options.title.empty()) lines.insert(lines.end(), {CutTo(options.title, options.width), ""});
  lanes.Print(options, &lines);
  lines.push_back("");
  queues.Print(options, &lines);
  lines.push_back(CutTo(absl::StrCat("(", idle, " idle queues are left out",
                                     left_out > 0 ? absl::StrCat(", and ", left_out, " for lack of room") : "", ")"),
                        options.width));
  lines.push_back("");
  outbox.Print(options, &lines);
  if (response.breakers_size() > 0) {
    lines.push_back("");
    breakers.Print(options, &lines);
  }
  if (!options.notice.empty()) lines.push_back(CutTo(options.notice, options.width));
  if (options.height > 0 && lines.size() > static_cast<size_t>(options.height)) lines.resize(options.height);
  return lines;
}

}  // namespace carillon::ctl
