#include "client/ctl/dead_letter_replay.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/dead_letter_options.h"
#include "client/ctl/dead_letter_text.h"
#include "client/ctl/interruption.h"
#include "client/ctl/output.h"
#include "client/ctl/validators.h"

namespace carillon::ctl {
namespace {

constexpr absl::Duration kLineInterval = absl::Seconds(1);

struct ReplayOptions {
  DeadLetterFilterOptions filter;
  WhoOptions who;
  bool dry_run = false;
  bool yes = false;
  int64_t limit = 0;
  int rate = 0, stop_after = 0, max_replays = 0;
  std::string resume;
};

// Shows how far a replay is: documents for programs; a line that is drawn anew on a
// terminal; else a line a second.
class ProgressPrinter {
 public:
  explicit ProgressPrinter(bool json) : json_(json), in_place_(!json && isatty(STDOUT_FILENO) != 0) {}

  void Print(const v1::ReplayDeadLettersResponse& response) {
    newest_ = response.replay();
    const bool is_last = newest_.state() != v1::REPLAY_STATE_RUNNING;
    if (json_) {
      std::printf("%s\n", ToJson(response).c_str());
    } else if (in_place_) {
      std::printf("\r%s\033[K%s", ProgressLine(response).c_str(), is_last ? "\n" : "");
    } else if (is_last || absl::Now() - printed_ >= kLineInterval) {
      printed_ = absl::Now();
      std::printf("%s\n", ProgressLine(response).c_str());
    }
    std::fflush(stdout);
  }
  // What is printed next begins a line, though nothing said that this was the last.
  void EndLine() const {
    if (in_place_ && newest_.state() == v1::REPLAY_STATE_RUNNING) std::printf("\n");
  }

  const v1::Replay& newest() const { return newest_; }

 private:
  const bool json_;
  const bool in_place_;
  absl::Time printed_;
  v1::Replay newest_;
};

void PrintEnd(const v1::Replay& replay, bool dry_run) {
  std::printf("%s %s of %s%s%s\n", dry_run ? "would replay" : "replayed", absl::StrCat(replay.replayed()).c_str(),
              absl::StrCat(replay.matched()).c_str(), LeftText(replay).c_str(),
              dry_run ? "" : absl::StrCat(" (replay ", replay.replay_id(), ")").c_str());
}

// What is to be done about a replay that did not come to its end.
std::string HowToGoOn(const std::string& id, const ReplayOptions& options) {
  if (options.dry_run) return "";
  if (id.empty()) return "; nothing was heard of it: carillonctl dlq audit tells whether it began";
  return absl::StrCat("; to go on: ", ResumeCommand(id, options.rate, options.stop_after));
}

// `status`: of the call; `newest`: what it told last, empty if nothing.
absl::Status ReplayEnd(Context& context, const absl::Status& status, const v1::Replay& newest,
                       const ReplayOptions& options) {
  const bool was_told = newest.state() != v1::REPLAY_STATE_UNSPECIFIED;
  const std::string& id = was_told ? newest.replay_id() : options.resume;
  // What the server refuses has not begun.
  if (!status.ok() && !was_told) return status;
  if (!status.ok()) return absl::Status(status.code(), absl::StrCat(status.message(), HowToGoOn(id, options)));
  if (was_told && !context.json()) PrintEnd(newest, options.dry_run);
  if (newest.state() == v1::REPLAY_STATE_DONE) return absl::OkStatus();
  const std::string why = newest.detail().empty() ? "it was interrupted" : newest.detail();
  return absl::AbortedError(absl::StrCat("stopped before its end: ", why, HowToGoOn(id, options)));
}

absl::Status Replay(Context& context, const ReplayOptions& options) {
  const bool begins = options.resume.empty();
  if (begins && !options.dry_run) RETURN_IF_ERROR(CheckReason(options.who));
  ASSIGN_OR_RETURN(Client * client, context.client());
  const v1::DeadLetterFilter filter = ToProto(options.filter);
  v1::ReplayDeadLettersRequest request;
  request.set_replay_id(options.resume);
  if (begins) *request.mutable_filter() = filter;
  request.set_dry_run(options.dry_run);
  request.set_limit(options.limit);
  request.set_rate(options.rate);
  request.set_stop_after_failures(options.stop_after);
  request.set_max_replays(options.max_replays);
  request.set_reason(options.who.reason);
  request.set_operator_(OperatorOf(options.who));
  if (begins && !options.dry_run && !options.yes) RETURN_IF_ERROR(Confirm(*client, filter, "replay"));
  CatchInterruption();
  CallCanceller canceller;
  const CancelOnInterruption cancels(canceller);
  ProgressPrinter printer(context.json());
  const auto on_progress = [&](const v1::ReplayDeadLettersResponse& response) { return printer.Print(response), true; };
  const absl::Status status = client->ReplayDeadLetters(request, on_progress, &canceller);
  printer.EndLine();
  return ReplayEnd(context, status, printer.newest(), options);
}

// Refuses what a resumed replay would pass over in silence.
void RefuseWithResume(CLI::App& replay, const CLI::Option* resume) {
  constexpr std::array kCount = {"--help", "--rate", "--stop-after", "--operator", "--yes", "--resume"};
  for (CLI::Option* const option : replay.get_options()) {
    const bool counts = std::ranges::any_of(kCount, [&](const char* name) { return option->check_name(name); });
    if (counts) continue;
    option->check(CLI::Validator(
        [resume](std::string&) {
          return resume->count() == 0 ? std::string()
                                      : "goes not with --resume, which goes on with what was asked for then; only "
                                        "--rate, --stop-after and --operator count";
        },
        ""));
  }
}

}  // namespace

void AddReplayCommand(CLI::App& dlq, Context& context) {
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* replay =
      AddCommand(dlq, context, "replay",
                 "put dead letters back into the queues that they died in, oldest first; try --dry-run first",
                 [&context, options] { return Replay(context, *options); });
  AddFilter(*replay, options->filter);
  AddWho(*replay, options->who, "why; recorded; required but for a dry run");
  replay->add_flag("--dry-run", options->dry_run, "count what would become of them; nothing changes");
  replay->add_flag("--yes", options->yes,
                   "don't ask before letters of payment and otp, or all there are, are replayed");
  replay->add_option("--limit", options->limit, "look at so many at most; 0: all")->check(NotNegative());
  replay->add_option("--rate", options->rate, "letters per second; default: 100")->check(CLI::Range(1, 10'000));
  replay->add_option("--stop-after", options->stop_after, "stop when so many in a row have died again; default: 20")
      ->check(CLI::Range(1, 10'000));
  replay->add_option("--max-replays", options->max_replays, "leave what was replayed so often before; default: 5")
      ->check(CLI::Range(1, 100));
  const CLI::Option* const resume = replay->add_option(
      "--resume", options->resume,
      "go on with the replay of this id (a UUID) that did not come to its end: what was asked for then, but at the\n"
      "--rate and --stop-after of this command, or their defaults");
  RefuseWithResume(*replay, resume);
}

}  // namespace carillon::ctl
