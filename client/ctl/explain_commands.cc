// explain.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

// As the recipient's clock shows it, with its distance from UTC.
std::string LocalText(const google::protobuf::Timestamp& time, absl::TimeZone zone) {
  const absl::Time at = absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %Ez", at, zone);
}

void PrintStep(const v1::ExplainedStep& step, absl::TimeZone zone) {
  absl::PrintF("  %-26s  %-14s  %-11s  %s", step.has_time() ? LocalText(step.time(), zone) : "", step.gate(),
               step.outcome(), step.detail());
  if (step.has_until()) absl::PrintF("  (until %s)", LocalText(step.until(), zone));
  if (!step.group_id().empty()) absl::PrintF("  in %s", step.group_id());
  absl::PrintF("\n");
}

void PrintExplanation(const v1::ExplainNotificationResponse& explained) {
  const v1::Notification& notification = explained.notification();
  absl::TimeZone zone = absl::UTCTimeZone();
  // A zone that this machine does not know is shown as UTC, which every line says.
  if (!explained.time_zone().empty()) (void)absl::LoadTimeZone(explained.time_zone(), &zone);
  absl::PrintF("%s  %s  to %s  %s  (times: %s)\n", notification.notification_id(), notification.type(),
               notification.user_id(), ShortName(v1::State_Name(notification.state()), "STATE_"), zone.name());
  for (const v1::ExplainedStep& step : explained.steps()) PrintStep(step, zone);
  for (const v1::ExplainedChannel& channel : explained.channels()) {
    absl::PrintF("%s%s: %s\n", ShortName(v1::Channel_Name(channel.channel()), "CHANNEL_"),
                 channel.device_id().empty() ? "" : absl::StrCat(" ", channel.device_id()), channel.outcome());
    for (const v1::ExplainedStep& step : channel.steps()) PrintStep(step, zone);
  }
}

absl::Status Explain(Context& context, const std::string& id) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ExplainNotificationRequest request;
  request.set_notification_id(id);
  ASSIGN_OR_RETURN(const v1::ExplainNotificationResponse explained, client->ExplainNotification(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(explained).c_str());
  } else {
    PrintExplanation(explained);
  }
  return absl::OkStatus();
}

}  // namespace

void AddExplainCommands(CLI::App& app, Context& context) {
  auto id = std::make_shared<std::string>();
  CLI::App* explain = AddCommand(app, context, "explain", "show why a notification was sent, held or left out",
                                 [&context, id] { return Explain(context, *id); });
  explain->add_option("ID", *id, "notification id")->required();
}

}  // namespace carillon::ctl
