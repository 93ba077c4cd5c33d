#include "client/ctl/dead_letter_options.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "carillon/domain/status_macros.h"
#include "carillon/domain/topology.h"
#include "client/ctl/dead_letter_text.h"

namespace carillon::ctl {
namespace {

void SetDuration(absl::Duration duration, google::protobuf::Duration* out) {
  out->set_seconds(absl::ToInt64Seconds(duration));
  out->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(duration % absl::Seconds(1))));
}

// user@host: whoever sits here.
std::string Here() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  const char* const user = std::getenv("USER");
  return absl::StrCat(user != nullptr ? user : std::to_string(getuid()), "@", host);
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

// All of them: groups are told up to a bound only.
absl::StatusOr<int64_t> CountLetters(Client& client, const v1::DeadLetterFilter& filter) {
  v1::SummarizeDeadLettersRequest request;
  *request.mutable_filter() = filter;
  ASSIGN_OR_RETURN(const v1::SummarizeDeadLettersResponse response, client.SummarizeDeadLetters(request));
  return response.total();
}

}  // namespace

void AddFilter(CLI::App& command, DeadLetterFilterOptions& filter) {
  command.add_option("--queue", filter.queue, "that died in this queue: otp.sms; unrouted");
  command.add_option("--lane", filter.lane, "of this lane");
  command.add_option("--type", filter.type, "of this type");
  command.add_option("--error", filter.error, "whose error, its kind or reason contains this, whatever the case");
  command.add_option("--kind", filter.kind, "whose error is of exactly this kind, as a group tells it");
  CLI::Option* provider = command.add_option("--provider", filter.provider, "of the provider that was asked last");
  command.add_flag("--no-provider", filter.no_provider, "for which no provider was asked")->excludes(provider);
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

v1::DeadLetterFilter ToProto(const DeadLetterFilterOptions& options) {
  v1::DeadLetterFilter filter;
  filter.set_app_key(options.all_apps ? "*" : options.app);
  filter.set_queue(options.queue);
  filter.set_lane(options.lane);
  filter.set_type(options.type);
  filter.set_error(options.error);
  filter.set_error_kind(options.kind);
  filter.set_provider(options.provider);
  filter.set_without_provider(options.no_provider);
  for (const std::string& id : options.ids) filter.add_dead_letter_ids(id);
  if (options.older_than.has_value()) SetDuration(*options.older_than, filter.mutable_older_than());
  if (options.newer_than.has_value()) SetDuration(*options.newer_than, filter.mutable_newer_than());
  return filter;
}

std::string OperatorOf(const WhoOptions& who) { return who.operator_name.empty() ? Here() : who.operator_name; }

absl::Status CheckReason(const WhoOptions& options) {
  if (!options.reason.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("--reason is missing: it must say why, and is recorded");
}

absl::Status Confirm(Client& client, const v1::DeadLetterFilter& filter, const char* what) {
  ASSIGN_OR_RETURN(const int64_t all, CountLetters(client, filter));
  int64_t critical = 0;
  for (const Lane lane : {Lane::kPayment, Lane::kOtp}) {
    if (!filter.lane().empty() && filter.lane() != ToString(lane)) continue;
    // A queue is of one lane, or of none.
    if (!filter.queue().empty() && LaneOfQueue(filter.queue()) != lane) continue;
    v1::DeadLetterFilter of_lane = filter;
    of_lane.set_lane(std::string(ToString(lane)));
    ASSIGN_OR_RETURN(const int64_t letters, CountLetters(client, of_lane));
    critical += letters;
  }
  if (critical == 0 && SaysWhich(filter)) return absl::OkStatus();
  const std::string question = critical > 0 ? absl::StrCat(critical, " of these ", all, " are of payment and otp")
                                            : absl::StrCat("nothing is said of which: these are all ", all);
  if (isatty(STDIN_FILENO) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(question, ": add --yes to ", what, " them"));
  }
  std::fprintf(stderr, "%s. Really %s them? [y/N] ", question.c_str(), what);
  const int answer = std::getchar();
  return answer == 'y' || answer == 'Y' ? absl::OkStatus() : absl::CancelledError("nothing was done");
}

}  // namespace carillon::ctl
