#include "server/api/recipient_contacts.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/contact_checks.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using Check = std::string (*)(absl::string_view field, const std::string& value, Violations& violations);

struct ContactField {
  const char* path;
  const std::string& (v1::Recipient::*value)() const;
  std::optional<std::string> ContactChange::*change;
  Check check;
};

constexpr ContactField kFields[] = {
    {"email", &v1::Recipient::email, &ContactChange::email, CheckEmail},
    {"phone", &v1::Recipient::phone, &ContactChange::phone, CheckPhone},
    {"locale", &v1::Recipient::locale, &ContactChange::locale, CheckLocale},
    {"time_zone", &v1::Recipient::time_zone, &ContactChange::time_zone, CheckTimeZone},
};

void Take(const ContactField& field, const v1::Recipient& recipient, ContactChange& change, Violations& violations) {
  const std::string& value = (recipient.*field.value)();
  change.*field.change = value.empty() ? "" : field.check(absl::StrCat("recipient.", field.path), value, violations);
}

void TakeNamed(const std::string& path, const v1::Recipient& recipient, ContactChange& change, Violations& violations) {
  for (const ContactField& field : kFields) {
    if (path == field.path) return Take(field, recipient, change, violations);
  }
  violations.AddUnknownPath(path, "email, phone, locale and time_zone");
}

absl::Status CheckUser(const std::string& user_id) {
  Violations violations;
  violations.CheckId("user_id", user_id, /*required=*/true);
  return violations.ToStatus();
}

void ToProto(const Device& device, v1::Device* out) {
  out->set_device_id(device.id);
  out->set_channel(static_cast<v1::Channel>(device.channel));
  out->set_token(device.token);
  *out->mutable_register_time() = ToTimestamp(device.register_time);
}

void ToProto(const Recipient& recipient, v1::Recipient* out) {
  out->set_user_id(recipient.key.recipient.value());
  out->set_email(recipient.email);
  out->set_phone(recipient.phone);
  out->set_locale(recipient.locale);
  out->set_time_zone(recipient.time_zone);
  for (const Device& device : recipient.devices) ToProto(device, out->add_devices());
  *out->mutable_create_time() = ToTimestamp(recipient.create_time);
  *out->mutable_update_time() = ToTimestamp(recipient.update_time);
}

// What a token stands for on either channel: which one it is of is not said.
std::vector<std::string> DeviceIdsOf(const v1::RemoveDeviceRequest& request, Violations& violations) {
  if (request.device_id().empty() == request.token().empty()) {
    violations.Add("device_id", "must be given, or token instead of it");
    return {};
  }
  if (!request.device_id().empty()) {
    violations.CheckId("device_id", request.device_id(), /*required=*/true);
    return {request.device_id()};
  }
  violations.CheckText("token", request.token(), /*required=*/true, limits::kMaxDeviceTokenBytes);
  return {DeviceIdOf(Channel::kApns, absl::AsciiStrToLower(request.token())),
          DeviceIdOf(Channel::kFcm, request.token())};
}

}  // namespace

ContactChange PrepareContacts(const v1::UpdateRecipientRequest& request, Violations& violations) {
  ContactChange change;
  const v1::Recipient& recipient = request.recipient();
  violations.CheckId("recipient.user_id", recipient.user_id(), /*required=*/true);
  if (request.has_update_mask()) {
    if (request.update_mask().paths_size() > limits::kMaxMaskPaths) {
      violations.Add("update_mask", absl::StrCat("must name at most ", limits::kMaxMaskPaths, " fields"));
      return change;
    }
    for (const std::string& path : request.update_mask().paths()) TakeNamed(path, recipient, change, violations);
    return change;
  }
  for (const ContactField& field : kFields) {
    if (!(recipient.*field.value)().empty()) Take(field, recipient, change, violations);
  }
  return change;
}

absl::Status RecipientContacts::Update(AppId app, const v1::UpdateRecipientRequest& request,
                                       v1::UpdateRecipientResponse* response) {
  Violations violations;
  const ContactChange change = PrepareContacts(request, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const Recipient recipient,
                   store_->Update({app, RecipientId(request.recipient().user_id())}, change));
  ToProto(recipient, response->mutable_recipient());
  return absl::OkStatus();
}

absl::Status RecipientContacts::Get(AppId app, const v1::GetRecipientRequest& request,
                                    v1::GetRecipientResponse* response) {
  RETURN_IF_ERROR(CheckUser(request.user_id()));
  ASSIGN_OR_RETURN(const Recipient recipient, store_->Get({app, RecipientId(request.user_id())}));
  ToProto(recipient, response->mutable_recipient());
  return absl::OkStatus();
}

absl::Status RecipientContacts::Register(AppId app, const v1::RegisterDeviceRequest& request,
                                         v1::RegisterDeviceResponse* response) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  const std::optional<Channel> channel = CheckPushChannel("device.channel", request.device().channel(), violations);
  Device device;
  if (channel.has_value()) {
    device.channel = *channel;
    device.token = CheckDeviceToken("device.token", *channel, request.device().token(), violations);
    device.id = DeviceIdOf(*channel, device.token);
  }
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(device.register_time, store_->PutDevice({app, RecipientId(request.user_id())}, device));
  ToProto(device, response->mutable_device());
  return absl::OkStatus();
}

absl::Status RecipientContacts::Remove(AppId app, const v1::RemoveDeviceRequest& request,
                                       v1::RemoveDeviceResponse* response) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  const std::vector<std::string> ids = DeviceIdsOf(request, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const int removed, store_->RemoveDevices({app, RecipientId(request.user_id())}, ids));
  response->set_removed(removed > 0);
  return absl::OkStatus();
}

}  // namespace carillon
