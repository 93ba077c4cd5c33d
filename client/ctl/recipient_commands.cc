// recipients set|get|token|export|erase, devices add|remove, suppressions list|add|remove.
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

constexpr int kPage = 1000;
// An erasing that takes longer than one call may is gone on with, so often.
constexpr int kMaxEraseCalls = 60;

struct ContactOptions {
  std::string user, email, phone, locale, time_zone;
  std::vector<std::string> cleared;
};

void PrintRecipient(const v1::Recipient& recipient) {
  absl::PrintF("%s\n", recipient.user_id());
  for (const auto& [name, value] :
       {std::pair("e-mail", &recipient.email()), std::pair("phone", &recipient.phone()),
        std::pair("locale", &recipient.locale()), std::pair("time zone", &recipient.time_zone())}) {
    absl::PrintF("  %-10s %s\n", name, value->empty() ? "-" : *value);
  }
  for (const v1::Device& device : recipient.devices()) {
    absl::PrintF("  %-10s %s  registered %s\n", ShortName(v1::Channel_Name(device.channel()), "CHANNEL_"),
                 device.device_id(), TimeText(device.register_time()));
  }
}

// Options that were given and names after --clear make the mask; with none of them
// the recipient is only made.
v1::UpdateRecipientRequest UpdateRequest(const ContactOptions& options) {
  v1::UpdateRecipientRequest request;
  v1::Recipient& recipient = *request.mutable_recipient();
  recipient.set_user_id(options.user);
  recipient.set_email(options.email);
  recipient.set_phone(options.phone);
  recipient.set_locale(options.locale);
  recipient.set_time_zone(options.time_zone);
  if (options.cleared.empty()) return request;
  for (const auto& [path, value] : {std::pair("email", &options.email), std::pair("phone", &options.phone),
                                    std::pair("locale", &options.locale), std::pair("time_zone", &options.time_zone)}) {
    if (!value->empty()) request.mutable_update_mask()->add_paths(path);
  }
  for (const std::string& field : options.cleared) {
    request.mutable_update_mask()->add_paths(absl::StrReplaceAll(field, {{"-", "_"}}));
  }
  return request;
}

absl::Status SetRecipient(Context& context, const ContactOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::UpdateRecipientResponse response, client->UpdateRecipient(UpdateRequest(options)));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    PrintRecipient(response.recipient());
  }
  return absl::OkStatus();
}

absl::Status GetRecipient(Context& context, const std::string& user) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::GetRecipientRequest request;
  request.set_user_id(user);
  ASSIGN_OR_RETURN(const v1::GetRecipientResponse response, client->GetRecipient(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    PrintRecipient(response.recipient());
  }
  return absl::OkStatus();
}

absl::Status IssueToken(Context& context, const std::string& user, const std::string& ttl_text) {
  absl::Duration ttl;
  if (!absl::ParseDuration(ttl_text, &ttl)) {
    return absl::InvalidArgumentError("--ttl must be a duration such as 15m or 1h30m");
  }
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::IssueUserTokenRequest request;
  request.set_user_id(user);
  *request.mutable_ttl() = google::protobuf::util::TimeUtil::MillisecondsToDuration(absl::ToInt64Milliseconds(ttl));
  ASSIGN_OR_RETURN(const v1::IssueUserTokenResponse response, client->IssueUserToken(request));
  std::printf("%s\n", context.json() ? ToJson(response).c_str() : response.token().c_str());
  return absl::OkStatus();
}

void PrintRow(const v1::ExportedRow& row) {
  std::printf("%s\n", row.table().c_str());
  for (const auto& [name, value] : row.row().fields()) {
    if (value.has_null_value()) continue;
    std::printf("  %-20s %s\n", name.c_str(),
                value.has_string_value() ? value.string_value().c_str() : ToJson(value).c_str());
  }
}

// Printed as it comes: it may be more than fits into memory.
absl::Status ExportRecipient(Context& context, const std::string& user) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ExportRecipientRequest request;
  request.set_user_id(user);
  request.set_page_size(kPage);
  do {
    ASSIGN_OR_RETURN(const v1::ExportRecipientResponse page, client->ExportRecipient(request));
    for (const v1::ExportedRow& row : page.rows()) {
      if (context.json()) {
        std::printf("%s\n", ToJson(row).c_str());
      } else {
        PrintRow(row);
      }
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status EraseRecipient(Context& context, const std::string& user) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::EraseRecipientRequest request;
  request.set_user_id(user);
  absl::StatusOr<v1::EraseRecipientResponse> response = client->EraseRecipient(request);
  for (int calls = 1; calls < kMaxEraseCalls && absl::IsDeadlineExceeded(response.status()); ++calls) {
    std::fprintf(stderr, "(not all is erased yet, going on)\n");
    response = client->EraseRecipient(request);
  }
  RETURN_IF_ERROR(response.status());
  if (context.json()) {
    std::printf("%s\n", ToJson(*response).c_str());
  } else {
    absl::PrintF("%s is erased: %d rows deleted or made nameless\n", user, response->rows());
  }
  return absl::OkStatus();
}

struct DeviceOptions {
  std::string user, apns, fcm, device_id;
};

absl::Status AddDevice(Context& context, const DeviceOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::RegisterDeviceRequest request;
  request.set_user_id(options.user);
  request.mutable_device()->set_channel(options.apns.empty() ? v1::CHANNEL_FCM : v1::CHANNEL_APNS);
  request.mutable_device()->set_token(options.apns.empty() ? options.fcm : options.apns);
  ASSIGN_OR_RETURN(const v1::RegisterDeviceResponse response, client->RegisterDevice(request));
  std::printf("%s\n", context.json() ? ToJson(response).c_str() : response.device().device_id().c_str());
  return absl::OkStatus();
}

absl::Status RemoveDevice(Context& context, const DeviceOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::RemoveDeviceRequest request;
  request.set_user_id(options.user);
  request.set_device_id(options.device_id);
  ASSIGN_OR_RETURN(const v1::RemoveDeviceResponse response, client->RemoveDevice(request));
  std::printf("%s\n", context.json()       ? ToJson(response).c_str()
                      : response.removed() ? "removed"
                                           : "there was no such device");
  return absl::OkStatus();
}

struct SuppressionOptions {
  std::string email, phone, type, reason;
  int limit = kPage;
};

v1::Channel ChannelOf(const SuppressionOptions& options) {
  if (!options.email.empty()) return v1::CHANNEL_EMAIL;
  return options.phone.empty() ? v1::CHANNEL_UNSPECIFIED : v1::CHANNEL_SMS;
}

v1::Suppression SuppressionOf(const SuppressionOptions& options) {
  v1::Suppression suppression;
  suppression.set_channel(ChannelOf(options));
  suppression.set_address(options.email.empty() ? options.phone : options.email);
  suppression.set_type(options.type);
  suppression.set_reason(options.reason);
  return suppression;
}

absl::Status ListSuppressions(Context& context, const SuppressionOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListSuppressionsRequest request;
  request.set_channel(ChannelOf(options));
  request.set_address(options.email.empty() ? options.phone : options.email);
  v1::ListSuppressionsResponse all;
  do {
    request.set_page_size(std::min(kPage, options.limit - all.suppressions_size()));
    ASSIGN_OR_RETURN(const v1::ListSuppressionsResponse page, client->ListSuppressions(request));
    all.mutable_suppressions()->MergeFrom(page.suppressions());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.suppressions_size() < options.limit);
  if (context.json()) {
    std::printf("%s\n", ToJson(all).c_str());
    return absl::OkStatus();
  }
  Table table({"CHANNEL", "ADDRESS", "TYPE", "SINCE", "REASON"});
  for (const v1::Suppression& one : all.suppressions()) {
    table.Add({ShortName(v1::Channel_Name(one.channel()), "CHANNEL_"),
               one.address().empty() ? "(erased)" : one.address(), one.type().empty() ? "all" : one.type(),
               TimeText(one.create_time()), one.reason()});
  }
  table.Print();
  return absl::OkStatus();
}

absl::Status AddSuppression(Context& context, const SuppressionOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::AddSuppressionRequest request;
  *request.mutable_suppression() = SuppressionOf(options);
  ASSIGN_OR_RETURN(const v1::AddSuppressionResponse response, client->AddSuppression(request));
  std::printf("%s\n", context.json()     ? ToJson(response).c_str()
                      : response.added() ? "suppressed"
                                         : "was suppressed already");
  return absl::OkStatus();
}

absl::Status RemoveSuppression(Context& context, const SuppressionOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::RemoveSuppressionRequest request;
  *request.mutable_suppression() = SuppressionOf(options);
  ASSIGN_OR_RETURN(const v1::RemoveSuppressionResponse response, client->RemoveSuppression(request));
  std::printf("%s\n", context.json()       ? ToJson(response).c_str()
                      : response.removed() ? "not suppressed any more"
                                           : "was not suppressed");
  return absl::OkStatus();
}

// A command on a user.
template <typename Run>
CLI::App* AddUserCommand(CLI::App& parent, Context& context, const std::string& name, const std::string& help,
                         Run run) {
  auto user = std::make_shared<std::string>();
  CLI::App* command = AddCommand(parent, context, name, help, [&context, user, run] { return run(context, *user); });
  command->add_option("USER", *user, "whose")->required();
  return command;
}

void AddContactCommands(CLI::App& app, Context& context) {
  CLI::App* recipients = app.add_subcommand("recipients", "how people are reached, and all that is kept about them");
  recipients->require_subcommand(1);
  auto options = std::make_shared<ContactOptions>();
  CLI::App* set = AddCommand(*recipients, context, "set", "make a recipient, or change what is given",
                             [&context, options] { return SetRecipient(context, *options); });
  set->add_option("USER", options->user, "whose")->required();
  set->add_option("--email", options->email, "local@domain");
  set->add_option("--phone", options->phone, "E.164: +4915112345678");
  set->add_option("--locale", options->locale, "es, es-MX");
  set->add_option("--time-zone", options->time_zone, "Europe/Berlin");
  set->add_option("--clear", options->cleared, "email, phone, locale or time-zone; may be repeated")
      ->check(CLI::IsMember({"email", "phone", "locale", "time-zone"}));
  AddUserCommand(*recipients, context, "get", "show contacts and devices", GetRecipient);
  auto user = std::make_shared<std::string>();
  auto ttl = std::make_shared<std::string>("15m");
  CLI::App* token = AddCommand(*recipients, context, "token", "make a token by which an end user calls",
                               [&context, user, ttl] { return IssueToken(context, *user, *ttl); });
  token->add_option("USER", *user, "whose")->required();
  token->add_option("--ttl", *ttl, "1m to 24h")->capture_default_str();
  AddUserCommand(*recipients, context, "export", "print everything that is kept about somebody", ExportRecipient);
  CLI::App* erase = AddUserCommand(*recipients, context, "erase",
                                   "delete everything that is kept about somebody; can't be undone", EraseRecipient);
  const std::string meant = "it is meant";
  erase->add_flag("--yes", meant)->required();
}

void AddDeviceCommands(CLI::App& app, Context& context) {
  CLI::App* devices = app.add_subcommand("devices", "where push messages go");
  devices->require_subcommand(1);
  auto options = std::make_shared<DeviceOptions>();
  CLI::App* add = AddCommand(*devices, context, "add", "add a device, or renew it; prints its id",
                             [&context, options] { return AddDevice(context, *options); });
  add->add_option("USER", options->user, "whose")->required();
  CLI::Option_group* token = add->add_option_group("token");
  token->add_option("--apns", options->apns, "token of APNs: hexadecimal digits");
  token->add_option("--fcm", options->fcm, "registration token of FCM");
  token->require_option(1);
  CLI::App* remove = AddCommand(*devices, context, "remove", "forget a device",
                                [&context, options] { return RemoveDevice(context, *options); });
  remove->add_option("USER", options->user, "whose")->required();
  remove->add_option("ID", options->device_id, "as devices add printed it")->required();
}

// Adds --email and --phone, of which so many are to be given.
void AddAddress(CLI::App& command, SuppressionOptions& options, int at_least) {
  CLI::Option_group* address = command.add_option_group("address");
  address->add_option("--email", options.email, "an e-mail address");
  address->add_option("--phone", options.phone, "a number in E.164");
  address->require_option(at_least, 1);
}

template <typename Run>
void AddSuppressionChange(CLI::App& suppressions, Context& context, const std::string& name, const std::string& help,
                          bool with_reason, Run run) {
  auto options = std::make_shared<SuppressionOptions>();
  CLI::App* command =
      AddCommand(suppressions, context, name, help, [&context, options, run] { return run(context, *options); });
  AddAddress(*command, *options, 1);
  command->add_option("--type", options->type, "for notifications of this type only");
  if (with_reason) command->add_option("--reason", options->reason, "in words");
}

void AddSuppressionCommands(CLI::App& app, Context& context) {
  CLI::App* suppressions = app.add_subcommand("suppressions", "addresses that nothing is sent to");
  suppressions->require_subcommand(1);
  auto options = std::make_shared<SuppressionOptions>();
  CLI::App* list = AddCommand(*suppressions, context, "list", "list them, or those of an address",
                              [&context, options] { return ListSuppressions(context, *options); });
  AddAddress(*list, *options, 0);
  list->add_option("--limit", options->limit, "at most so many")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000'000));
  AddSuppressionChange(*suppressions, context, "add", "send nothing to an address", true, AddSuppression);
  AddSuppressionChange(*suppressions, context, "remove", "end it", false, RemoveSuppression);
}

}  // namespace

void AddRecipientCommands(CLI::App& app, Context& context) {
  AddContactCommands(app, context);
  AddDeviceCommands(app, context);
  AddSuppressionCommands(app, context);
}

}  // namespace carillon::ctl
