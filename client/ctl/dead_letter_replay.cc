#include "client/ctl/dead_letter_replay.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/dead_letter_options.h"
#include "client/ctl/dead_letter_text.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

constexpr absl::Duration kLineInterval = absl::Seconds(1);

std::atomic<bool> interrupted = false;

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

  const v1::Replay& newest() const { return newest_; }

 private:
  const bool json_;
  const bool in_place_;
  absl::Time printed_;
  v1::Replay newest_;
};

absl::Status ReplayEnd(Context& context, const v1::Replay& replay, bool dry_run) {
  if (!context.json()) {
    std::printf("%s %s of %s%s%s\n", dry_run ? "would replay" : "replayed", absl::StrCat(replay.replayed()).c_str(),
                absl::StrCat(replay.matched()).c_str(), LeftText(replay).c_str(),
                dry_run ? "" : absl::StrCat(" (replay ", replay.replay_id(), ")").c_str());
  }
  if (replay.state() == v1::REPLAY_STATE_DONE) return absl::OkStatus();
  const std::string why = replay.detail().empty() ? "it was interrupted" : replay.detail();
  return absl::AbortedError(absl::StrCat("stopped before its end: ", why,
                                         "; to go on: carillonctl dlq replay --resume ", replay.replay_id()));
}

absl::Status Replay(Context& context, const ReplayOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  const v1::DeadLetterFilter filter = ToProto(options.filter);
  if (!options.resume.empty() && filter.ByteSizeLong() > 0) {
    return absl::InvalidArgumentError("--resume goes on with what was asked for then: it takes no filter");
  }
  v1::ReplayDeadLettersRequest request;
  request.set_replay_id(options.resume);
  if (options.resume.empty()) *request.mutable_filter() = filter;
  request.set_dry_run(options.dry_run);
  request.set_limit(options.limit);
  request.set_rate(options.rate);
  request.set_stop_after_failures(options.stop_after);
  request.set_max_replays(options.max_replays);
  request.set_reason(options.who.reason);
  request.set_operator_(OperatorOf(options.who));
  const bool asks = !options.dry_run && !options.yes && options.resume.empty();
  if (asks) RETURN_IF_ERROR(Confirm(*client, filter, "replay"));
  signal(SIGINT, [](int) { interrupted = true; });
  signal(SIGTERM, [](int) { interrupted = true; });
  ProgressPrinter printer(context.json());
  const absl::Status status = client->ReplayDeadLetters(request, [&](const v1::ReplayDeadLettersResponse& response) {
    printer.Print(response);
    return !interrupted;
  });
  if (!status.ok()) {
    const std::string& id = printer.newest().replay_id();
    if (id.empty()) return status;
    return absl::Status(status.code(),
                        absl::StrCat(status.message(), "; to go on: carillonctl dlq replay --resume ", id));
  }
  return ReplayEnd(context, printer.newest(), options.dry_run);
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
  replay->add_option("--limit", options->limit, "look at so many at most; 0: all")->check(CLI::NonNegativeNumber);
  replay->add_option("--rate", options->rate, "letters per second; default: 100")->check(CLI::Range(1, 10'000));
  replay->add_option("--stop-after", options->stop_after, "stop when so many in a row have died again; default: 20")
      ->check(CLI::Range(1, 10'000));
  replay->add_option("--max-replays", options->max_replays, "leave what was replayed so often before; default: 5")
      ->check(CLI::Range(1, 100));
  replay->add_option("--resume", options->resume, "go on with a replay that did not come to its end");
}

}  // namespace carillon::ctl
