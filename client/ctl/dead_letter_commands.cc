// dlq list, show, replay, purge, export, audit.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

constexpr size_t kErrorWidth = 80;
constexpr int kBarWidth = 24;
constexpr int kPage = 50;
constexpr absl::Duration kLineInterval = absl::Seconds(1);

std::atomic<bool> interrupted = false;

struct FilterOptions {
  std::string queue, lane, type, error, provider, app;
  std::vector<std::string> ids;
  std::optional<absl::Duration> older_than, newer_than;
  bool all_apps = false;
};

// Who does it, and why.
struct WhoOptions {
  std::string operator_name;
  std::string reason;
};

void SetDuration(absl::Duration duration, google::protobuf::Duration* out) {
  out->set_seconds(absl::ToInt64Seconds(duration));
  out->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(duration % absl::Seconds(1))));
}

v1::DeadLetterFilter ToProto(const FilterOptions& options) {
  v1::DeadLetterFilter filter;
  filter.set_app_key(options.all_apps ? "*" : options.app);
  filter.set_queue(options.queue);
  filter.set_lane(options.lane);
  filter.set_type(options.type);
  filter.set_error(options.error);
  filter.set_provider(options.provider);
  for (const std::string& id : options.ids) filter.add_dead_letter_ids(id);
  if (options.older_than.has_value()) SetDuration(*options.older_than, filter.mutable_older_than());
  if (options.newer_than.has_value()) SetDuration(*options.newer_than, filter.mutable_newer_than());
  return filter;
}

// user@host: whoever sits here.
std::string Here() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  const char* const user = std::getenv("USER");
  return absl::StrCat(user != nullptr ? user : std::to_string(getuid()), "@", host);
}

std::string OperatorOf(const WhoOptions& who) { return who.operator_name.empty() ? Here() : who.operator_name; }

std::string Shortened(const std::string& text) {
  return text.size() <= kErrorWidth ? text : absl::StrCat(text.substr(0, kErrorWidth - 3), "...");
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

std::string AgeText(const google::protobuf::Timestamp& time) {
  const absl::Duration age = absl::Now() - absl::FromUnixSeconds(time.seconds());
  if (age < absl::Minutes(2)) return absl::StrFormat("%d s", std::max<int64_t>(0, absl::ToInt64Seconds(age)));
  if (age < absl::Hours(2)) return absl::StrFormat("%d min", absl::ToInt64Minutes(age));
  if (age < absl::Hours(48)) return absl::StrFormat("%d h", absl::ToInt64Hours(age));
  return absl::StrFormat("%d d", absl::ToInt64Hours(age) / 24);
}

struct ListOptions {
  FilterOptions filter;
  int limit = 100;
  bool each = false;
  bool groups = false;
};

absl::Status ListGroups(Context& context, const ListOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::SummarizeDeadLettersRequest request;
  *request.mutable_filter() = ToProto(options.filter);
  ASSIGN_OR_RETURN(const v1::SummarizeDeadLettersResponse response, client->SummarizeDeadLetters(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  Table table({"COUNT", "QUEUE", "TYPE", "PROVIDER", "OLDEST", "NEWEST", "REASON", "ERROR"});
  for (const v1::DeadLetterGroup& group : response.groups()) {
    table.Add({absl::StrCat(group.count()), group.queue(), OrDash(group.type()), OrDash(group.provider()),
               AgeText(group.oldest_dead_time()), AgeText(group.newest_dead_time()), group.reason(),
               Shortened(group.error())});
  }
  if (response.groups_size() > 0) table.Print();
  std::printf("%s dead letters\n", absl::StrCat(response.total()).c_str());
  return absl::OkStatus();
}

// Calls `use` with each letter until there are `limit` (0: all).
template <typename Use>
absl::Status ForEachLetter(Client& client, v1::ListDeadLettersRequest request, int64_t limit, Use use) {
  int64_t seen = 0;
  do {
    ASSIGN_OR_RETURN(const v1::ListDeadLettersResponse page, client.ListDeadLetters(request));
    for (const v1::DeadLetter& letter : page.dead_letters()) {
      if (limit > 0 && ++seen > limit) return absl::OkStatus();
      use(letter);
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && (limit == 0 || seen < limit));
  return absl::OkStatus();
}

absl::Status ListEach(Context& context, const ListOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListDeadLettersRequest request;
  *request.mutable_filter() = ToProto(options.filter);
  request.set_page_size(options.limit);
  v1::ListDeadLettersResponse all;
  RETURN_IF_ERROR(ForEachLetter(*client, request, options.limit,
                                [&](const v1::DeadLetter& letter) { *all.add_dead_letters() = letter; }));
  if (context.json()) {
    std::printf("%s\n", ToJson(all).c_str());
    return absl::OkStatus();
  }
  Table table({"ID", "DIED", "QUEUE", "TYPE", "NOTIFICATION", "PROVIDER", "REPLAYS", "REASON", "ERROR"});
  for (const v1::DeadLetter& letter : all.dead_letters()) {
    table.Add({letter.dead_letter_id(), TimeText(letter.dead_time()), letter.queue(), OrDash(letter.type()),
               OrDash(letter.notification_id()), OrDash(letter.provider()), absl::StrCat(letter.replay_count()),
               letter.reason(), Shortened(letter.error())});
  }
  table.Print();
  return absl::OkStatus();
}

absl::Status List(Context& context, const ListOptions& options) {
  const bool each = options.each || (context.json() && !options.groups);
  return each ? ListEach(context, options) : ListGroups(context, options);
}

struct ShowOptions {
  std::string id;
  bool unmasked = false;
  WhoOptions who;
};

std::string Indented(const std::string& json) {
  const auto parsed = nlohmann::ordered_json::parse(json, nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() ? json : parsed.dump(2);
}

absl::Status Show(Context& context, const ShowOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::GetDeadLetterRequest request;
  request.set_dead_letter_id(options.id);
  request.set_unmasked(options.unmasked);
  request.set_operator_(OperatorOf(options.who));
  request.set_reason(options.who.reason);
  ASSIGN_OR_RETURN(const v1::GetDeadLetterResponse response, client->GetDeadLetter(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  const v1::DeadLetter& letter = response.dead_letter();
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, std::string>>{
           {"dead letter", letter.dead_letter_id()},
           {"died", absl::StrCat(TimeText(letter.dead_time()), " (", AgeText(letter.dead_time()), " ago)")},
           {"queue", letter.queue()},
           {"reason", letter.reason()},
           {"error", letter.error()},
           {"provider", letter.provider()},
           {"type", letter.type()},
           {"app", letter.app_key()},
           {"notification", letter.notification_id()},
           {"delivery", letter.delivery_id()},
           {"message", letter.message_id()},
           {"traceparent", letter.traceparent()},
           {"retries", absl::StrCat(letter.retry_count())},
           {"replays", absl::StrCat(letter.replay_count())},
           {"bytes", absl::StrCat(letter.payload_bytes())}}) {
    if (!value.empty()) std::printf("%-13s %s\n", name, value.c_str());
  }
  std::printf("%s\n", Indented(letter.payload_json()).c_str());
  return absl::OkStatus();
}

bool IsEmpty(const FilterOptions& filter) { return ToProto(filter).ByteSizeLong() == 0; }

// What must not be done by a slip of the hand: anything with payment and otp, and anything
// with all there is.
absl::Status Confirm(Client& client, const FilterOptions& filter, const char* what) {
  v1::SummarizeDeadLettersRequest request;
  *request.mutable_filter() = ToProto(filter);
  ASSIGN_OR_RETURN(const v1::SummarizeDeadLettersResponse response, client.SummarizeDeadLetters(request));
  int64_t critical = 0;
  for (const v1::DeadLetterGroup& group : response.groups()) {
    if (group.lane() == "payment" || group.lane() == "otp") critical += group.count();
  }
  if (critical == 0 && !IsEmpty(filter)) return absl::OkStatus();
  const std::string question = critical > 0
                                   ? absl::StrCat(critical, " of these ", response.total(), " are of payment and otp")
                                   : absl::StrCat("nothing is said of which: these are all ", response.total());
  if (isatty(STDIN_FILENO) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(question, ": add --yes to ", what, " them"));
  }
  std::fprintf(stderr, "%s. Really %s them? [y/N] ", question.c_str(), what);
  const int answer = std::getchar();
  return answer == 'y' || answer == 'Y' ? absl::OkStatus() : absl::CancelledError("nothing was done");
}

struct ReplayOptions {
  FilterOptions filter;
  WhoOptions who;
  bool dry_run = false;
  bool yes = false;
  int64_t limit = 0;
  int rate = 0, stop_after = 0, max_replays = 0;
  std::string resume;
};

// Each skipped kind that there is.
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

int64_t LookedAt(const v1::Replay& replay) {
  return replay.replayed() + replay.skipped_expired() + replay.skipped_ended() + replay.skipped_poison() +
         replay.skipped_unroutable();
}

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
      std::printf("\r%s\033[K%s", Line(response).c_str(), is_last ? "\n" : "");
    } else if (is_last || absl::Now() - printed_ >= kLineInterval) {
      printed_ = absl::Now();
      std::printf("%s\n", Line(response).c_str());
    }
    std::fflush(stdout);
  }

  const v1::Replay& newest() const { return newest_; }

 private:
  static std::string Line(const v1::ReplayDeadLettersResponse& response) {
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
  if (!options.resume.empty() && !IsEmpty(options.filter)) {
    return absl::InvalidArgumentError("--resume goes on with what was asked for then: it takes no filter");
  }
  v1::ReplayDeadLettersRequest request;
  request.set_replay_id(options.resume);
  if (options.resume.empty()) *request.mutable_filter() = ToProto(options.filter);
  request.set_dry_run(options.dry_run);
  request.set_limit(options.limit);
  request.set_rate(options.rate);
  request.set_stop_after_failures(options.stop_after);
  request.set_max_replays(options.max_replays);
  request.set_reason(options.who.reason);
  request.set_operator_(OperatorOf(options.who));
  const bool asks = !options.dry_run && !options.yes && options.resume.empty();
  if (asks) RETURN_IF_ERROR(Confirm(*client, options.filter, "replay"));
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

struct PurgeOptions {
  FilterOptions filter;
  WhoOptions who;
  bool dry_run = false;
  bool yes = false;
  int64_t limit = 0;
};

absl::Status Purge(Context& context, const PurgeOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::PurgeDeadLettersRequest request;
  *request.mutable_filter() = ToProto(options.filter);
  request.set_dry_run(options.dry_run);
  request.set_limit(options.limit);
  request.set_reason(options.who.reason);
  request.set_operator_(OperatorOf(options.who));
  if (!options.dry_run && !options.yes) RETURN_IF_ERROR(Confirm(*client, options.filter, "delete"));
  ASSIGN_OR_RETURN(const v1::PurgeDeadLettersResponse response, client->PurgeDeadLetters(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    std::printf("%s dead letters %s\n", absl::StrCat(response.purged()).c_str(),
                options.dry_run ? "would be deleted" : "deleted");
  }
  return absl::OkStatus();
}

struct ExportOptions {
  FilterOptions filter;
  WhoOptions who;
  bool unmasked = false;
  int64_t limit = 0;
};

absl::Status Export(Context& context, const ExportOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListDeadLettersRequest request;
  *request.mutable_filter() = ToProto(options.filter);
  request.set_page_size(kPage);
  request.set_with_payload(true);
  request.set_unmasked(options.unmasked);
  request.set_operator_(OperatorOf(options.who));
  request.set_reason(options.who.reason);
  return ForEachLetter(*client, request, options.limit,
                       [](const v1::DeadLetter& letter) { std::printf("%s\n", ToJson(letter).c_str()); });
}

absl::Status Audit(Context& context, int limit) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListReplaysRequest request;
  request.set_page_size(limit);
  ASSIGN_OR_RETURN(const v1::ListReplaysResponse response, client->ListReplays(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  Table table({"ID", "BEGAN", "WHAT", "STATE", "WHO", "MATCHED", "DONE", "LEFT", "DIED AGAIN", "REASON"});
  for (const v1::Replay& replay : response.replays()) {
    const int64_t left = LookedAt(replay) - replay.replayed() + replay.skipped_taken();
    table.Add({replay.replay_id(), TimeText(replay.start_time()), replay.kind(),
               ShortName(v1::ReplayState_Name(replay.state()), "REPLAY_STATE_"),
               absl::StrCat(OrDash(replay.operator_()), " (", replay.app_key(), ")"), absl::StrCat(replay.matched()),
               absl::StrCat(replay.replayed()), absl::StrCat(left), absl::StrCat(replay.died_again()),
               Shortened(replay.reason())});
  }
  table.Print();
  return absl::OkStatus();
}

// 90s, 10m, 2h, 3d. Nothing if it is none.
std::optional<absl::Duration> ParseAge(const std::string& text) {
  absl::string_view days = text;
  double number = 0;
  if (absl::ConsumeSuffix(&days, "d") && absl::SimpleAtod(days, &number) && number >= 0)
    return absl::Hours(24) * number;
  absl::Duration age;
  if (!absl::ParseDuration(text, &age) || age < absl::ZeroDuration()) return std::nullopt;
  return age;
}

void AddAge(CLI::App& command, const std::string& name, std::optional<absl::Duration>& age, const std::string& help) {
  command
      .add_option_function<std::string>(
          name, [&age](const std::string& text) { age = ParseAge(text); }, help)
      ->check(CLI::Validator(
          [](std::string& text) {
            return ParseAge(text).has_value() ? std::string() : "must be like 90s, 10m, 2h or 3d";
          },
          "AGE"));
}

void AddFilter(CLI::App& command, FilterOptions& filter) {
  command.add_option("--queue", filter.queue, "that died in this queue: otp.sms; unrouted");
  command.add_option("--lane", filter.lane, "of this lane");
  command.add_option("--type", filter.type, "of this type");
  command.add_option("--error", filter.error, "whose error, its kind or reason contains this, whatever the case");
  command.add_option("--provider", filter.provider, "of the provider that was asked last");
  command.add_option("--id", filter.ids, "this one; repeatable")->allow_extra_args(false);
  AddAge(command, "--older-than", filter.older_than, "that died at least so long ago: 90s, 10m, 2h, 3d");
  AddAge(command, "--newer-than", filter.newer_than, "that died at most so long ago");
  CLI::Option* app = command.add_option("--app", filter.app, "of the app with this key instead of your own");
  command.add_flag("--all-apps", filter.all_apps, "of all apps")->excludes(app);
}

void AddWho(CLI::App& command, WhoOptions& who, const char* why) {
  command.add_option("--reason", who.reason, why);
  command.add_option("--operator", who.operator_name, "who does it; default: " + Here());
}

void AddReplay(CLI::App& dlq, Context& context) {
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

}  // namespace

void AddDeadLetterCommands(CLI::App& app, Context& context) {
  CLI::App* dlq = app.add_subcommand("dlq", "dead letters: what was given up, and what is done with it");
  dlq->require_subcommand(1);
  auto list_options = std::make_shared<ListOptions>();
  CLI::App* list = AddCommand(*dlq, context, "list", "dead letters by queue, type, provider and kind of error",
                              [&context, list_options] { return List(context, *list_options); });
  AddFilter(*list, list_options->filter);
  list->add_flag("--each", list_options->each, "one by one, newest first; so with --json, but for --groups");
  list->add_flag("--groups", list_options->groups, "with --json: groups");
  list->add_option("--limit", list_options->limit, "letters at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));

  auto show_options = std::make_shared<ShowOptions>();
  CLI::App* show = AddCommand(*dlq, context, "show", "one dead letter with what it says, masked",
                              [&context, show_options] { return Show(context, *show_options); });
  show->add_option("ID", show_options->id)->required();
  show->add_flag("--unmasked", show_options->unmasked, "as it is; recorded");
  AddWho(*show, show_options->who, "with --unmasked: why; recorded");

  AddReplay(*dlq, context);

  auto purge_options = std::make_shared<PurgeOptions>();
  CLI::App* purge = AddCommand(*dlq, context, "purge", "delete dead letters for good; their notifications stay dead",
                               [&context, purge_options] { return Purge(context, *purge_options); });
  AddFilter(*purge, purge_options->filter);
  AddWho(*purge, purge_options->who, "why; recorded; required but for a dry run");
  purge->add_flag("--dry-run", purge_options->dry_run, "count them; nothing changes");
  purge->add_flag("--yes", purge_options->yes,
                  "don't ask before letters of payment and otp, or all there are, are deleted");
  purge->add_option("--limit", purge_options->limit, "delete so many at most; 0: all")->check(CLI::NonNegativeNumber);

  auto export_options = std::make_shared<ExportOptions>();
  CLI::App* exported = AddCommand(*dlq, context, "export", "dead letters with what they say, one JSON document a line",
                                  [&context, export_options] { return Export(context, *export_options); });
  AddFilter(*exported, export_options->filter);
  exported->add_flag("--unmasked", export_options->unmasked, "as they are, instead of masked; recorded");
  AddWho(*exported, export_options->who, "with --unmasked: why; recorded");
  exported->add_option("--limit", export_options->limit, "letters at most; 0: all")->check(CLI::NonNegativeNumber);

  auto limit = std::make_shared<int>(20);
  CLI::App* audit = AddCommand(*dlq, context, "audit", "who replayed, deleted or looked at what, and why, newest first",
                               [&context, limit] { return Audit(context, *limit); });
  audit->add_option("--limit", *limit, "records at most")->capture_default_str()->check(CLI::Range(1, 500));
}

}  // namespace carillon::ctl
