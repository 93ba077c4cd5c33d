#include "client/ctl/dead_letter_text.h"

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace carillon::ctl {
namespace {

constexpr size_t kErrorWidth = 80;
constexpr int kBarWidth = 24;

}  // namespace

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

std::string Shortened(const std::string& text) {
  return text.size() <= kErrorWidth ? text : absl::StrCat(text.substr(0, kErrorWidth - 3), "...");
}

std::string TimeAgo(const google::protobuf::Timestamp& time) {
  const absl::Duration age = absl::Now() - absl::FromUnixSeconds(time.seconds());
  if (age < absl::Minutes(2)) return absl::StrFormat("%d s", std::max<int64_t>(0, absl::ToInt64Seconds(age)));
  if (age < absl::Hours(2)) return absl::StrFormat("%d min", absl::ToInt64Minutes(age));
  if (age < absl::Hours(48)) return absl::StrFormat("%d h", absl::ToInt64Hours(age));
  return absl::StrFormat("%d d", absl::ToInt64Hours(age) / 24);
}

bool SaysWhich(const v1::DeadLetterFilter& filter) {
  v1::DeadLetterFilter rest = filter;
  rest.clear_app_key();
  return rest.ByteSizeLong() > 0;
}

std::string TotalText(int64_t total, int64_t of_all_apps) {
  if (total > 0 || of_all_apps == 0) return absl::StrCat(total, " dead letters");
  return absl::StrCat("0 dead letters of this app; ", of_all_apps, " of all apps: --all-apps");
}

int64_t LookedAt(const v1::Replay& replay) {
  return replay.replayed() + replay.skipped_expired() + replay.skipped_ended() + replay.skipped_poison() +
         replay.skipped_unroutable();
}

std::string LeftText(const v1::Replay& replay) {
  std::vector<std::string> parts;
  for (const auto& [count, why] :
       std::initializer_list<std::pair<int64_t, const char*>>{{replay.skipped_expired(), "expired"},
                                                              {replay.skipped_ended(), "ended otherwise"},
                                                              {replay.skipped_poison(), "replayed too often"},
                                                              {replay.skipped_unroutable(), "of no queue"},
                                                              {replay.skipped_taken(), "taken by others"}}) {
    if (count > 0) parts.push_back(absl::StrCat(count, " ", why));
  }
  return parts.empty() ? "" : absl::StrCat("; left: ", absl::StrJoin(parts, ", "));
}

std::string ResumeCommand(const std::string& replay_id, int rate, int stop_after) {
  return absl::StrCat("carillonctl dlq replay --resume ", replay_id, rate > 0 ? absl::StrCat(" --rate ", rate) : "",
                      stop_after > 0 ? absl::StrCat(" --stop-after ", stop_after) : "");
}

std::string ProgressLine(const v1::ReplayDeadLettersResponse& response) {
  const v1::Replay& replay = response.replay();
  const int64_t done = LookedAt(replay) + replay.skipped_taken();
  const double share = replay.matched() > 0 ? std::min(1.0, static_cast<double>(done) / replay.matched()) : 1;
  const auto filled = static_cast<size_t>(share * kBarWidth);
  std::string line =
      absl::StrFormat("[%s%s] %d/%d %3.0f%%  %.0f/s", std::string(filled, '#'), std::string(kBarWidth - filled, '-'),
                      done, replay.matched(), share * 100, response.rate());
  if (response.has_remaining_time()) {
    absl::StrAppend(&line, "  ", response.remaining_time().seconds() + 1, " s left");
  }
  if (replay.died_again() > 0) absl::StrAppend(&line, "  ", replay.died_again(), " died again");
  return line;
}

}  // namespace carillon::ctl
