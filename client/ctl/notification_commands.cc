// send, get.
#include <google/protobuf/util/json_util.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

struct SendOptions {
  std::string type, user, actor, object, data, key;
  std::vector<std::string> channels;
  double ttl_seconds = 0;
};

absl::StatusOr<v1::SendNotificationRequest> ToRequest(const SendOptions& options) {
  v1::SendNotificationRequest request;
  request.set_type(options.type);
  request.set_user_id(options.user);
  request.set_actor_id(options.actor);
  request.set_object_id(options.object);
  request.set_idempotency_key(options.key);
  if (!options.data.empty() &&
      !google::protobuf::util::JsonStringToMessage(options.data, request.mutable_data()).ok()) {
    return absl::InvalidArgumentError("--data must be a JSON object");
  }
  for (const std::string& name : options.channels) {
    v1::Channel channel;
    if (!v1::Channel_Parse(absl::StrCat("CHANNEL_", absl::AsciiStrToUpper(name)), &channel)) {
      return absl::InvalidArgumentError(absl::StrCat("--channels: no channel ", name));
    }
    request.add_channels(channel);
  }
  if (options.ttl_seconds > 0) {
    const int64_t nanoseconds = static_cast<int64_t>(options.ttl_seconds * 1e9);
    request.mutable_ttl()->set_seconds(nanoseconds / 1'000'000'000);
    request.mutable_ttl()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  }
  return request;
}

absl::Status Send(Context& context, const SendOptions& options) {
  ASSIGN_OR_RETURN(const v1::SendNotificationRequest request, ToRequest(options));
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

void PrintNotification(const v1::Notification& notification) {
  std::printf("%s  %s  to %s  %s\n", notification.notification_id().c_str(), notification.type().c_str(),
              notification.user_id().c_str(), ShortName(v1::State_Name(notification.state()), "STATE_").c_str());
  for (const v1::TimelineEntry& entry : notification.timeline()) {
    std::printf("  %-23s  %-10s", entry.has_time() ? TimeText(entry.time()).c_str() : "",
                ShortName(v1::State_Name(entry.state()), "STATE_").c_str());
    if (entry.attempt() > 0) std::printf("  attempt %d failed:", entry.attempt());
    std::printf("%s%s\n", entry.detail().empty() ? "" : "  ", entry.detail().c_str());
  }
}

absl::Status Get(Context& context, const std::string& id) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::GetNotificationRequest request;
  request.set_notification_id(id);
  ASSIGN_OR_RETURN(const v1::GetNotificationResponse got, client->GetNotification(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(got).c_str());
  } else {
    PrintNotification(got.notification());
  }
  return absl::OkStatus();
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
  send->add_option("--ttl", options->ttl_seconds, "seconds after which it is not delivered any more");
  send->add_option("--channels", options->channels, "in_app; default: those of the type")->delimiter(',');

  auto id = std::make_shared<std::string>();
  CLI::App* get = AddCommand(app, context, "get", "show a notification's state and timeline",
                             [&context, id] { return Get(context, *id); });
  get->add_option("ID", *id, "notification id")->required();
}

}  // namespace carillon::ctl
