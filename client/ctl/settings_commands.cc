// settings get|set|mute|unmute|mutes|centre|app.
#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"
#include "client/ctl/settings_text.h"

namespace carillon::ctl {
namespace {

constexpr const char* kPreferenceHelp =
    "TYPE[:CHANNEL]=on|off|digest, category/NAME... or *... (all types); may be repeated: replaces all that was said";

// The options that set a field of the settings, and the names that --clear takes.
constexpr std::pair<const char*, const char*> kPaths[] = {{"preferences", "preferences"},
                                                          {"dnd", "do_not_disturb_until"},
                                                          {"quiet", "quiet_hours"},
                                                          {"digest", "digest_time"}};

struct SettingsOptions {
  std::string user, dnd, digest;
  std::vector<std::string> preferences, quiet, cleared;
};

void PrintSettings(const std::string& heading, const v1::RecipientSettings& settings) {
  absl::PrintF("%s\n", heading);
  const auto print = [](const char* name, const std::string& value) { absl::PrintF("  %-15s %s\n", name, value); };
  if (settings.preferences().empty()) print("preferences", "-");
  for (int i = 0; i < settings.preferences_size(); ++i) {
    print(i == 0 ? "preferences" : "", PreferenceText(settings.preferences(i)));
  }
  print("do not disturb",
        settings.has_do_not_disturb_until() ? "until " + TimeText(settings.do_not_disturb_until()) + " UTC" : "-");
  if (settings.quiet_hours().empty()) print("quiet hours", "-");
  for (int i = 0; i < settings.quiet_hours_size(); ++i) {
    print(i == 0 ? "quiet hours" : "", QuietHoursText(settings.quiet_hours(i)));
  }
  print("digests", DigestTimeText(settings));
}

absl::Status Get(Context& context, const std::string& user) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::GetSettingsRequest request;
  request.set_user_id(user);
  ASSIGN_OR_RETURN(const v1::GetSettingsResponse response, client->GetSettings(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    PrintSettings(user, response.settings());
  }
  return absl::OkStatus();
}

void AddPath(const std::string& name, v1::UpdateSettingsRequest& request) {
  for (const auto& [option, path] : kPaths) {
    if (name == option) request.mutable_update_mask()->add_paths(path);
  }
}

// What is given is replaced, what is named after --clear is cleared.
absl::StatusOr<v1::UpdateSettingsRequest> UpdateRequest(const SettingsOptions& options) {
  v1::UpdateSettingsRequest request;
  request.set_user_id(options.user);
  v1::RecipientSettings& settings = *request.mutable_settings();
  for (const std::string& text : options.preferences) {
    ASSIGN_OR_RETURN(*settings.add_preferences(), ParsePreference(text));
  }
  for (const std::string& text : options.quiet) {
    ASSIGN_OR_RETURN(*settings.add_quiet_hours(), ParseQuietHours(text));
  }
  if (!options.dnd.empty()) {
    ASSIGN_OR_RETURN(*settings.mutable_do_not_disturb_until(), ParseUntil(options.dnd, absl::Now()));
  }
  if (!options.digest.empty()) {
    ASSIGN_OR_RETURN(*settings.mutable_digest_time(), ParseDigestTime(options.digest));
  }
  if (!options.preferences.empty()) AddPath("preferences", request);
  if (!options.quiet.empty()) AddPath("quiet", request);
  if (!options.dnd.empty()) AddPath("dnd", request);
  if (!options.digest.empty()) AddPath("digest", request);
  for (const std::string& name : options.cleared) AddPath(name, request);
  if (request.update_mask().paths().empty()) {
    return absl::InvalidArgumentError("nothing to change: give --preference, --quiet, --dnd, --digest or --clear");
  }
  return request;
}

absl::Status Set(Context& context, const SettingsOptions& options) {
  ASSIGN_OR_RETURN(const v1::UpdateSettingsRequest request, UpdateRequest(options));
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::UpdateSettingsResponse response, client->UpdateSettings(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    PrintSettings(options.user, response.settings());
  }
  return absl::OkStatus();
}

struct MuteOptions {
  std::string user, duration;
  std::vector<std::string> actors, objects;
};

absl::StatusOr<std::vector<v1::Mute>> MutesOf(const MuteOptions& options) {
  if (options.actors.empty() && options.objects.empty()) {
    return absl::InvalidArgumentError("whom or what: give --actor or --object");
  }
  v1::Mute mute;
  if (!options.duration.empty()) {
    ASSIGN_OR_RETURN(*mute.mutable_until(), ParseUntil(options.duration, absl::Now()));
  }
  std::vector<v1::Mute> mutes;
  for (const std::string& actor : options.actors) mutes.emplace_back(mute).set_actor_id(actor);
  for (const std::string& object : options.objects) mutes.emplace_back(mute).set_object_id(object);
  return mutes;
}

absl::Status Mute(Context& context, const MuteOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<v1::Mute> mutes, MutesOf(options));
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::AddMutesRequest request;
  request.set_user_id(options.user);
  request.mutable_mutes()->Add(mutes.begin(), mutes.end());
  ASSIGN_OR_RETURN(const v1::AddMutesResponse response, client->AddMutes(request));
  std::printf("%s\n", context.json() ? ToJson(response).c_str() : "muted");
  return absl::OkStatus();
}

absl::Status Unmute(Context& context, const MuteOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<v1::Mute> mutes, MutesOf(options));
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::RemoveMutesRequest request;
  request.set_user_id(options.user);
  request.mutable_mutes()->Add(mutes.begin(), mutes.end());
  ASSIGN_OR_RETURN(const v1::RemoveMutesResponse response, client->RemoveMutes(request));
  std::printf("%s\n", context.json()           ? ToJson(response).c_str()
                      : response.removed() > 0 ? "not muted any more"
                                               : "was not muted");
  return absl::OkStatus();
}

absl::Status ListMutes(Context& context, const std::string& user) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListMutesRequest request;
  request.set_user_id(user);
  ASSIGN_OR_RETURN(const v1::ListMutesResponse response, client->ListMutes(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  Table table({"KIND", "ID", "UNTIL"});
  for (const v1::Mute& mute : response.mutes()) {
    const bool is_actor = !mute.actor_id().empty();
    table.Add({is_actor ? "actor" : "object", is_actor ? mute.actor_id() : mute.object_id(),
               mute.has_until() ? TimeText(mute.until()) : "for good"});
  }
  table.Print();
  return absl::OkStatus();
}

void PrintCentre(const std::string& user, const v1::GetPreferenceCentreResponse& centre) {
  Table table({"CATEGORY", "TYPE", "CHANNEL", "CHOICE", "SAID BY"});
  for (const v1::PreferenceCentreCategory& category : centre.categories()) {
    for (const v1::PreferenceCentreType& type : category.types()) {
      for (const v1::EffectiveChoice& choice : type.choices()) {
        const std::string level = choice.level().empty() ? "default" : choice.level();
        table.Add({category.category().empty() ? "-" : category.category(), type.type(),
                   ShortName(v1::Channel_Name(choice.channel()), "CHANNEL_"),
                   ShortName(v1::Choice_Name(choice.choice()), "CHOICE_"),
                   type.can_be_changed() ? level : level + "; can't be switched off"});
      }
    }
  }
  table.Print();
  std::printf("\n");
  PrintSettings(user + ", " + (centre.time_zone().empty() ? "UTC" : centre.time_zone()), centre.settings());
}

absl::Status Centre(Context& context, const std::string& user) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::GetPreferenceCentreRequest request;
  request.set_user_id(user);
  ASSIGN_OR_RETURN(const v1::GetPreferenceCentreResponse response, client->GetPreferenceCentre(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    PrintCentre(user, response);
  }
  return absl::OkStatus();
}

struct AppOptions {
  std::vector<std::string> preferences;
  bool clear = false;
};

template <typename Response>
void PrintAppPreferences(const Context& context, const Response& response) {
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return;
  }
  if (response.preferences().empty()) std::printf("nothing is said: everything is on\n");
  for (const v1::Preference& preference : response.preferences()) {
    std::printf("%s\n", PreferenceText(preference).c_str());
  }
}

absl::Status OfApp(Context& context, const AppOptions& options) {
  v1::SetAppPreferencesRequest request;
  for (const std::string& text : options.preferences) {
    ASSIGN_OR_RETURN(*request.add_preferences(), ParsePreference(text));
  }
  ASSIGN_OR_RETURN(Client * client, context.client());
  if (options.preferences.empty() && !options.clear) {
    ASSIGN_OR_RETURN(const v1::GetAppPreferencesResponse response, client->GetAppPreferences({}));
    PrintAppPreferences(context, response);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const v1::SetAppPreferencesResponse response, client->SetAppPreferences(request));
  PrintAppPreferences(context, response);
  return absl::OkStatus();
}

// An option that takes one word each time that it is given.
CLI::Option* AddRepeated(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                         const std::string& help) {
  return command.add_option(name, values, help)->allow_extra_args(false);
}

template <typename Run>
void AddUserCommand(CLI::App& parent, Context& context, const std::string& name, const std::string& help, Run run) {
  auto user = std::make_shared<std::string>();
  CLI::App* command = AddCommand(parent, context, name, help, [&context, user, run] { return run(context, *user); });
  command->add_option("USER", *user, "whose")->required();
}

template <typename Run>
CLI::App* AddMuteCommand(CLI::App& parent, Context& context, const std::string& name, const std::string& help,
                         const std::shared_ptr<MuteOptions>& options, Run run) {
  CLI::App* command =
      AddCommand(parent, context, name, help, [&context, options, run] { return run(context, *options); });
  command->add_option("USER", options->user, "who")->required();
  AddRepeated(*command, "--actor", options->actors, "what somebody does; may be repeated");
  AddRepeated(*command, "--object", options->objects, "what is about something; may be repeated");
  return command;
}

void AddSet(CLI::App& settings, Context& context) {
  auto options = std::make_shared<SettingsOptions>();
  CLI::App* set = AddCommand(settings, context, "set", "change what is given",
                             [&context, options] { return Set(context, *options); });
  set->add_option("USER", options->user, "whose")->required();
  AddRepeated(*set, "--preference", options->preferences, kPreferenceHelp);
  AddRepeated(*set, "--quiet", options->quiet,
              "[DAYS] HH:MM-HH:MM by the recipient's clock: 'mon-fri 22:00-07:00'; may be repeated: replaces all");
  set->add_option("--dnd", options->dnd, "do not disturb for so long (2h), or until a time of RFC 3339");
  set->add_option("--digest", options->digest, "hourly, 'daily 09:00' or 'weekly mon 09:00'");
  AddRepeated(*set, "--clear", options->cleared, "preferences, dnd, quiet or digest; may be repeated")
      ->check(CLI::IsMember({"preferences", "dnd", "quiet", "digest"}));
}

void AddApp(CLI::App& settings, Context& context) {
  auto options = std::make_shared<AppOptions>();
  CLI::App* of_app =
      AddCommand(settings, context, "app", "show or set the preferences of those who have not said otherwise",
                 [&context, options] { return OfApp(context, *options); });
  CLI::Option* preference = AddRepeated(*of_app, "--preference", options->preferences, kPreferenceHelp);
  of_app->add_flag("--clear", options->clear, "say nothing any more")->excludes(preference);
}

}  // namespace

void AddSettingsCommands(CLI::App& app, Context& context) {
  CLI::App* settings = app.add_subcommand("settings", "when and how people want to be told");
  settings->require_subcommand(1);
  AddUserCommand(*settings, context, "get", "show what a recipient has said", Get);
  AddSet(*settings, context);
  auto muted = std::make_shared<MuteOptions>();
  AddMuteCommand(*settings, context, "mute", "keep away what somebody does, or what is about something", muted, Mute)
      ->add_option("--for", muted->duration, "so long (2h), or until a time of RFC 3339; absent: for good");
  AddMuteCommand(*settings, context, "unmute", "end it", std::make_shared<MuteOptions>(), Unmute);
  AddUserCommand(*settings, context, "mutes", "list whom and what a recipient has muted", ListMutes);
  AddUserCommand(*settings, context, "centre", "show what holds for each type and channel, and whose word it is",
                 Centre);
  AddApp(*settings, context);
}

}  // namespace carillon::ctl
