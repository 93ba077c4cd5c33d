// send, get, cancel, opened, clicked.
#include <google/protobuf/util/time_util.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/dry_run.h"
#include "client/ctl/json_file.h"
#include "client/ctl/output.h"
#include "client/ctl/pressure_text.h"

namespace carillon::ctl {
namespace {

struct SendOptions {
  std::string type, user, actor, object, data, key, ttl, send_time;
  std::vector<std::string> channels;
  bool dry_run = false;
};

constexpr const char* kChannelNames = "in_app, email, sms, apns, fcm or webhook";

absl::StatusOr<v1::Channel> ParseChannelOption(const std::string& option, const std::string& name) {
  v1::Channel channel = v1::CHANNEL_UNSPECIFIED;
  if (v1::Channel_Parse(absl::StrCat("CHANNEL_", absl::AsciiStrToUpper(name)), &channel)) return channel;
  return absl::InvalidArgumentError(absl::StrCat(option, ": no channel ", name, "; there are ", kChannelNames));
}

// Sets what was given. A ttl without a unit is in seconds.
absl::Status AddTimes(const SendOptions& options, v1::SendNotificationRequest* request) {
  using google::protobuf::util::TimeUtil;
  if (!options.send_time.empty() && !TimeUtil::FromString(options.send_time, request->mutable_send_time())) {
    return absl::InvalidArgumentError("--send-time must be a time such as 2026-12-31T18:00:00Z");
  }
  if (options.ttl.empty()) return absl::OkStatus();
  absl::Duration ttl;
  double seconds = 0;
  if (absl::SimpleAtod(options.ttl, &seconds)) {
    ttl = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(options.ttl, &ttl)) {
    return absl::InvalidArgumentError("--ttl must be a duration such as 90s, 10m or 1h30m");
  }
  // What no duration holds is refused by the server.
  *request->mutable_ttl() = TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(ttl));
  return absl::OkStatus();
}

absl::StatusOr<v1::SendNotificationRequest> ToRequest(const SendOptions& options) {
  v1::SendNotificationRequest request;
  request.set_type(options.type);
  request.set_user_id(options.user);
  request.set_actor_id(options.actor);
  request.set_object_id(options.object);
  request.set_idempotency_key(options.key);
  if (!options.data.empty()) RETURN_IF_ERROR(ParseData(options.data, request.mutable_data()));
  for (const std::string& name : options.channels) {
    ASSIGN_OR_RETURN(const v1::Channel channel, ParseChannelOption("--channels", name));
    request.add_channels(channel);
  }
  RETURN_IF_ERROR(AddTimes(options, &request));
  return request;
}

absl::Status Send(Context& context, const SendOptions& options) {
  ASSIGN_OR_RETURN(const v1::SendNotificationRequest request, ToRequest(options));
  if (options.dry_run) {
    v1::DryRunRequest dry;
    *dry.mutable_send() = request;
    return RunDry(context, dry);
  }
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::SendNotificationResponse sent, client->SendNotification(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(sent).c_str());
  } else {
    std::printf("%s %s%s\n", sent.notification().notification_id().c_str(),
                ShortName(v1::State_Name(sent.notification().state()), "STATE_").c_str(),
                sent.duplicate() ? " (the key was used before: this is the first answer)" : "");
  }
  return absl::OkStatus();
}

// One call to a provider: when, whom, what came of it, its code and words, how long it took.
void PrintAttempt(const v1::DeliveryAttempt& attempt) {
  absl::PrintF("    %s  %-9s %-13s %5d ms", TimeText(attempt.time()), attempt.provider(), attempt.outcome(),
               attempt.latency_ms());
  for (const std::string* said : {&attempt.code(), &attempt.error()}) {
    if (!said->empty()) absl::PrintF("  %s", *said);
  }
  absl::PrintF("\n");
}

// Whether a provider has it: of the others, `provider` is who refused last.
bool Taken(const v1::Delivery& delivery) {
  return delivery.state() == v1::DELIVERY_STATE_SENT || delivery.state() == v1::DELIVERY_STATE_DELIVERED ||
         delivery.state() == v1::DELIVERY_STATE_UNDELIVERED;
}

void PrintDelivery(const v1::Delivery& delivery) {
  absl::PrintF("  %s%s  %s", ShortName(v1::Channel_Name(delivery.channel()), "CHANNEL_"),
               delivery.device_id().empty() ? "" : absl::StrCat(" ", delivery.device_id()),
               ShortName(v1::DeliveryState_Name(delivery.state()), "DELIVERY_STATE_"));
  if (!delivery.provider().empty())
    absl::PrintF("  %s %s", Taken(delivery) ? "by" : "last asked:", delivery.provider());
  if (!delivery.provider_message_id().empty()) absl::PrintF(" as %s", delivery.provider_message_id());
  if (delivery.has_hold_until()) absl::PrintF("  until %s at the latest", TimeText(delivery.hold_until()));
  absl::PrintF("%s%s\n", delivery.detail().empty() ? "" : "  ", delivery.detail());
  for (const v1::DeliveryAttempt& attempt : delivery.attempts()) PrintAttempt(attempt);
}

void PrintNotification(const v1::Notification& notification) {
  std::printf("%s  %s  to %s  %s\n", notification.notification_id().c_str(), notification.type().c_str(),
              notification.user_id().c_str(), ShortName(v1::State_Name(notification.state()), "STATE_").c_str());
  for (const v1::TimelineEntry& entry : notification.timeline()) {
    std::printf("  %-23s  %-10s", entry.has_time() ? TimeText(entry.time()).c_str() : "",
                ShortName(v1::State_Name(entry.state()), "STATE_").c_str());
    if (entry.attempt() > 0) std::printf("  attempt %d failed:", entry.attempt());
    std::printf("%s%s\n", entry.detail().empty() ? "" : "  ", entry.detail().c_str());
  }
  for (const v1::Delivery& delivery : notification.deliveries()) PrintDelivery(delivery);
  if (notification.has_delay()) std::printf("  %s\n", DelayText(notification.delay()).c_str());
}

struct GetOptions {
  std::string id;
  bool watch = false;
};

// One line: when it was heard, the state, where each delivery is, and what it waits for.
void PrintChange(const v1::Notification& notification) {
  std::string line = ShortName(v1::State_Name(notification.state()), "STATE_");
  for (const v1::Delivery& delivery : notification.deliveries()) {
    absl::StrAppend(&line, "  ", ShortName(v1::Channel_Name(delivery.channel()), "CHANNEL_"), " ",
                    ShortName(v1::DeliveryState_Name(delivery.state()), "DELIVERY_STATE_"));
  }
  if (notification.has_delay()) absl::StrAppend(&line, "  ", DelayText(notification.delay()));
  absl::PrintF("%s  %s\n", absl::FormatTime("%H:%M:%E3S", absl::Now(), absl::UTCTimeZone()), line);
}

absl::Status WatchOne(Context& context, const std::string& id) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::WatchNotificationRequest request;
  request.set_notification_id(id);
  v1::Notification last;
  RETURN_IF_ERROR(client->WatchNotification(request, [&](const v1::Notification& notification) {
    last = notification;
    if (context.json()) {
      std::printf("%s\n", ToJson(notification).c_str());
    } else {
      PrintChange(notification);
    }
    std::fflush(stdout);
    return true;
  }));
  if (!context.json()) PrintNotification(last);
  return absl::OkStatus();
}

absl::Status Get(Context& context, const GetOptions& options) {
  if (options.watch) return WatchOne(context, options.id);
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::GetNotificationRequest request;
  request.set_notification_id(options.id);
  ASSIGN_OR_RETURN(const v1::GetNotificationResponse got, client->GetNotification(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(got).c_str());
  } else {
    PrintNotification(got.notification());
  }
  return absl::OkStatus();
}

absl::Status Cancel(Context& context, const std::string& id) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::CancelNotificationRequest request;
  request.set_notification_id(id);
  ASSIGN_OR_RETURN(const v1::CancelNotificationResponse cancelled, client->CancelNotification(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(cancelled).c_str());
  } else {
    PrintNotification(cancelled.notification());
  }
  return absl::OkStatus();
}

struct InteractionOptions {
  std::string user, id, channel = "in_app";
};

absl::Status Interact(Context& context, v1::InteractionKind kind, const InteractionOptions& options) {
  v1::RecordInteractionRequest request;
  request.set_user_id(options.user);
  request.set_notification_id(options.id);
  request.set_kind(kind);
  ASSIGN_OR_RETURN(const v1::Channel channel, ParseChannelOption("--channel", options.channel));
  request.set_channel(channel);
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::RecordInteractionResponse answer, client->RecordInteraction(request));
  std::printf("%s\n", context.json() ? ToJson(answer).c_str() : answer.recorded() ? "recorded" : "was recorded before");
  return absl::OkStatus();
}

void AddInteractionCommand(CLI::App& app, Context& context, const std::string& name, v1::InteractionKind kind) {
  auto options = std::make_shared<InteractionOptions>();
  CLI::App* command = AddCommand(app, context, name, absl::StrCat("tell that a recipient has ", name, " something"),
                                 [&context, kind, options] { return Interact(context, kind, *options); });
  command->add_option("USER", options->user, "the recipient")->required();
  command->add_option("ID", options->id, "notification id")->required();
  command->add_option("--channel", options->channel, absl::StrCat("where: ", kChannelNames))->capture_default_str();
}

}  // namespace

void AddNotificationCommands(CLI::App& app, Context& context) {
  auto options = std::make_shared<SendOptions>();
  CLI::App* send = AddCommand(app, context, "send", "send one notification",
                              [&context, options] { return Send(context, *options); });
  send->add_option("--type", options->type, "a type of the catalogue: like, otp.login, ...")->required();
  send->add_option("--user", options->user, "the recipient")->required();
  send->add_option("--actor", options->actor, "who caused it");
  send->add_option("--object", options->object, "what it is about");
  send->add_option("--data", options->data, "a JSON object for templates and clients");
  send->add_option("--key", options->key, "idempotency key: sent again within 24 h it answers the same");
  send->add_option("--send-time", options->send_time, "not before this time: 2026-12-31T18:00:00Z");
  send->add_option("--ttl", options->ttl, "how long it may be delivered: 90s, 10m, 1h30m");
  send->add_option("--channels", options->channels,
                   absl::StrCat("comma-separated, of ", kChannelNames, "; default: those of the type"))
      ->delimiter(',');
  send->add_flag("--dry-run", options->dry_run, kDryRunHelp);

  auto got = std::make_shared<GetOptions>();
  CLI::App* get = AddCommand(app, context, "get", "show a notification's state, timeline and deliveries",
                             [&context, got] { return Get(context, *got); });
  get->add_option("ID", got->id, "notification id")->required();
  get->add_flag("--watch", got->watch, "follow it until it has ended");

  auto cancelled = std::make_shared<std::string>();
  CLI::App* cancel = AddCommand(app, context, "cancel", "stop what has not left: scheduled, held, or not yet published",
                                [&context, cancelled] { return Cancel(context, *cancelled); });
  cancel->add_option("ID", *cancelled, "notification id")->required();

  AddInteractionCommand(app, context, "opened", v1::INTERACTION_KIND_OPENED);
  AddInteractionCommand(app, context, "clicked", v1::INTERACTION_KIND_CLICKED);
}

}  // namespace carillon::ctl
