// providers apply, providers list; stats.
#include <google/protobuf/util/json_util.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/json_file.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

std::string ChannelName(v1::Channel channel) { return ShortName(v1::Channel_Name(channel), "CHANNEL_"); }

// From what is written after --channel.
absl::StatusOr<v1::Channel> ParseChannelOption(const std::string& text) {
  v1::Channel channel = v1::CHANNEL_UNSPECIFIED;
  if (text.empty() || v1::Channel_Parse(absl::StrCat("CHANNEL_", absl::AsciiStrToUpper(text)), &channel)) {
    return channel;
  }
  return absl::InvalidArgumentError("--channel must be in_app, email, sms, apns, fcm or webhook");
}

// smtp, twilio, ...; "-" if the server could not read the settings.
std::string KindOf(const v1::Provider& provider) {
  const auto* const settings = provider.GetDescriptor()->FindOneofByName("settings");
  const auto* const kind = provider.GetReflection()->GetOneofFieldDescriptor(provider, settings);
  return kind == nullptr ? "-" : kind->name();
}

void LengthenEnums(nlohmann::json& request) {
  if (!request.is_object()) return;
  if (request.contains("channel")) LengthenEnum(request["channel"], "CHANNEL_");
  if (!request.contains("providers") || !request["providers"].is_array()) return;
  for (nlohmann::json& provider : request["providers"]) {
    if (provider.is_object() && provider.contains("smtp") && provider["smtp"].is_object() &&
        provider["smtp"].contains("security")) {
      LengthenEnum(provider["smtp"]["security"], "SMTP_SECURITY_");
    }
  }
}

absl::StatusOr<std::vector<v1::SetProvidersRequest>> ReadRequests(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string file, ReadFile(path));
  nlohmann::json entries = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!entries.is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": must be a JSON array of {\"channel\", \"providers\"}"));
  }
  std::vector<v1::SetProvidersRequest> requests;
  for (nlohmann::json& entry : entries) {
    LengthenEnums(entry);
    const auto parsed = google::protobuf::util::JsonStringToMessage(entry.dump(), &requests.emplace_back());
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": [", requests.size() - 1, "]: ", std::string(parsed.message().data(), parsed.message().size())));
    }
  }
  return requests;
}

absl::Status Apply(Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<v1::SetProvidersRequest> requests, ReadRequests(path));
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::SetProvidersResponse all;
  for (const v1::SetProvidersRequest& request : requests) {
    ASSIGN_OR_RETURN(const v1::SetProvidersResponse set, client->SetProviders(request));
    all.mutable_providers()->MergeFrom(set.providers());
    if (context.json()) continue;
    std::printf("%s: %d provider%s\n", ChannelName(request.channel()).c_str(), set.providers_size(),
                set.providers_size() == 1 ? "" : "s");
  }
  if (context.json()) std::printf("%s\n", ToJson(all).c_str());
  return absl::OkStatus();
}

void AddRows(const v1::ProviderStatus& status, Table& table) {
  const std::vector<std::string> provider = {ChannelName(status.channel()), status.provider().name(),
                                             KindOf(status.provider())};
  const auto add = [&](std::vector<std::string> health) {
    health.insert(health.begin(), provider.begin(), provider.end());
    table.Add(std::move(health));
  };
  if (status.health().empty()) add({"-", "closed", "-", "-", "-"});
  for (const v1::ProviderHealth& health : status.health()) {
    add({health.lane().empty() ? "-" : health.lane(),
         ShortName(v1::BreakerState_Name(health.breaker()), "BREAKER_STATE_"), TimeText(health.since()),
         TimeText(health.retry_time()), absl::StrCat(health.misconfigured() ? "misconfigured: " : "", health.error())});
  }
}

absl::Status List(Context& context, const std::string& channel) {
  v1::ListProvidersRequest request;
  ASSIGN_OR_RETURN(const v1::Channel wanted, ParseChannelOption(channel));
  request.set_channel(wanted);
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::ListProvidersResponse response, client->ListProviders(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  Table table({"CHANNEL", "NAME", "KIND", "LANE", "BREAKER", "SINCE", "RETRY", "ERROR"});
  for (const v1::ProviderStatus& status : response.providers()) AddRows(status, table);
  table.Print();
  return absl::OkStatus();
}

struct StatsOptions {
  std::string from;
  std::string to;
  std::string type;
  std::string channel;
};

absl::Status ShowStats(Context& context, const StatsOptions& options) {
  v1::GetStatsRequest request;
  request.set_from_day(options.from);
  request.set_to_day(options.to);
  request.set_type(options.type);
  ASSIGN_OR_RETURN(const v1::Channel channel, ParseChannelOption(options.channel));
  request.set_channel(channel);
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::GetStatsResponse response, client->GetStats(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  Table table({"DAY", "TYPE", "CHANNEL", "SENT", "DELIVERED", "UNDELIVERED", "OPENED", "CLICKED", "SUPPRESSED",
               "EXPIRED", "DEAD"});
  for (const v1::StatsRow& row : response.rows()) {
    std::vector<std::string> cells = {row.day(), row.type(), ChannelName(row.channel())};
    for (const int64_t count : {row.sent(), row.delivered(), row.undelivered(), row.opened(), row.clicked(),
                                row.suppressed(), row.expired(), row.dead()}) {
      cells.push_back(absl::StrCat(count));
    }
    table.Add(std::move(cells));
  }
  table.Print();
  return absl::OkStatus();
}

void AddStatsCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<StatsOptions>();
  CLI::App* stats = AddCommand(app, context, "stats", "what was sent and what became of it, by day, type and channel",
                               [&context, options] { return ShowStats(context, *options); });
  stats->add_option("--from", options->from, "the first day in UTC, like 2026-11-26")->required();
  stats->add_option("--to", options->to, "the last day")->required();
  stats->add_option("--type", options->type, "of this type only");
  stats->add_option("--channel", options->channel, "of this channel only: in_app, email, sms, apns, fcm, webhook");
}

}  // namespace

void AddProviderCommands(CLI::App& app, Context& context) {
  CLI::App* providers = app.add_subcommand("providers", "how this app reaches its channels");
  providers->require_subcommand(1);
  auto path = std::make_shared<std::string>();
  CLI::App* apply = AddCommand(*providers, context, "apply", "set the providers of channels; live within seconds",
                               [&context, path] { return Apply(context, *path); });
  apply
      ->add_option("FILE", *path,
                   "a JSON array of {\"channel\", \"providers\"}; a secret given as *** stays; -: standard input")
      ->required();
  auto channel = std::make_shared<std::string>();
  CLI::App* list = AddCommand(*providers, context, "list", "providers and how they are, in the order they are asked",
                              [&context, channel] { return List(context, *channel); });
  list->add_option("--channel", *channel, "of this channel only: email, sms, apns, fcm, webhook");
  AddStatsCommand(app, context);
}

}  // namespace carillon::ctl
