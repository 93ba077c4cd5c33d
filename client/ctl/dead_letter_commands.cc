// dlq list, show, replay, purge, export, audit.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/dead_letter_options.h"
#include "client/ctl/dead_letter_replay.h"
#include "client/ctl/dead_letter_text.h"
#include "client/ctl/output.h"
#include "client/ctl/validators.h"

namespace carillon::ctl {
namespace {

constexpr int kPage = 50;

struct ListOptions {
  DeadLetterFilterOptions filter;
  int limit = 100;
  bool each = false;
  bool groups = false;
};

// The alert counts those of all apps: who sees none of an app is told of the others.
void PrintTotal(Client& client, const v1::DeadLetterFilter& filter, int64_t total) {
  int64_t of_all_apps = 0;
  if (total == 0 && filter.app_key() != "*") {
    v1::SummarizeDeadLettersRequest request;
    *request.mutable_filter() = filter;
    request.mutable_filter()->set_app_key("*");
    const auto all = client.SummarizeDeadLetters(request);
    if (all.ok()) of_all_apps = all->total();
  }
  std::printf("%s\n", TotalText(total, of_all_apps).c_str());
}

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
               TimeAgo(group.oldest_dead_time()), TimeAgo(group.newest_dead_time()), group.reason(),
               Shortened(group.error())});
  }
  if (response.groups_size() > 0) table.Print();
  PrintTotal(*client, request.filter(), response.total());
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
  if (all.dead_letters().empty()) {
    PrintTotal(*client, request.filter(), 0);
    return absl::OkStatus();
  }
  Table table({"ID", "DIED", "APP", "QUEUE", "TYPE", "NOTIFICATION", "PROVIDER", "REPLAYS", "REASON", "ERROR"});
  for (const v1::DeadLetter& letter : all.dead_letters()) {
    table.Add({letter.dead_letter_id(), TimeText(letter.dead_time()), OrDash(letter.app_key()), letter.queue(),
               OrDash(letter.type()), OrDash(letter.notification_id()), OrDash(letter.provider()),
               absl::StrCat(letter.replay_count()), letter.reason(), Shortened(letter.error())});
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
           {"died", absl::StrCat(TimeText(letter.dead_time()), " (", TimeAgo(letter.dead_time()), " ago)")},
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

struct PurgeOptions {
  DeadLetterFilterOptions filter;
  WhoOptions who;
  bool dry_run = false;
  bool yes = false;
  int64_t limit = 0;
};

absl::Status Purge(Context& context, const PurgeOptions& options) {
  if (!options.dry_run) RETURN_IF_ERROR(CheckReason(options.who));
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::PurgeDeadLettersRequest request;
  *request.mutable_filter() = ToProto(options.filter);
  request.set_dry_run(options.dry_run);
  request.set_limit(options.limit);
  request.set_reason(options.who.reason);
  request.set_operator_(OperatorOf(options.who));
  if (!options.dry_run && !options.yes) RETURN_IF_ERROR(Confirm(*client, request.filter(), "delete"));
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
  DeadLetterFilterOptions filter;
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

  AddReplayCommand(*dlq, context);

  auto purge_options = std::make_shared<PurgeOptions>();
  CLI::App* purge = AddCommand(*dlq, context, "purge", "delete dead letters for good; their notifications stay dead",
                               [&context, purge_options] { return Purge(context, *purge_options); });
  AddFilter(*purge, purge_options->filter);
  AddWho(*purge, purge_options->who, "why; recorded; required but for a dry run");
  purge->add_flag("--dry-run", purge_options->dry_run, "count them; nothing changes");
  purge->add_flag("--yes", purge_options->yes,
                  "don't ask before letters of payment and otp, or all there are, are deleted");
  purge->add_option("--limit", purge_options->limit, "delete so many at most; 0: all")->check(NotNegative());

  auto export_options = std::make_shared<ExportOptions>();
  CLI::App* exported = AddCommand(*dlq, context, "export", "dead letters with what they say, one JSON document a line",
                                  [&context, export_options] { return Export(context, *export_options); });
  AddFilter(*exported, export_options->filter);
  exported->add_flag("--unmasked", export_options->unmasked, "as they are, instead of masked; recorded");
  AddWho(*exported, export_options->who, "with --unmasked: why; recorded");
  exported->add_option("--limit", export_options->limit, "letters at most; 0: all")->check(NotNegative());

  auto limit = std::make_shared<int>(20);
  CLI::App* audit = AddCommand(*dlq, context, "audit", "who replayed, deleted or looked at what, and why, newest first",
                               [&context, limit] { return Audit(context, *limit); });
  audit->add_option("--limit", *limit, "records at most")->capture_default_str()->check(CLI::Range(1, 500));
}

}  // namespace carillon::ctl
