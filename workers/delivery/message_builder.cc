#include "workers/delivery/message_builder.h"

#include "absl/strings/str_cat.h"
#include "carillon/channels/link_tracking.h"
#include "carillon/channels/render.h"
#include "carillon/domain/gathering.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/secrets.h"

namespace carillon {
namespace {

LinkTarget TargetOf(const Delivery& delivery) {
  return {.app = delivery.item.app,
          .notification = delivery.item.id,
          .delivery = delivery.id,
          .channel = delivery.channel,
          .retention_days = delivery.item.retention_days};
}

// What takes the place of an older message on a device: of a group the message before, else
// none but itself. As short as an id, and from which nothing can be read.
std::string CollapseIdOf(const Notification& item, const NotificationType& type) {
  if (!IsGathered(type, item)) return item.id.ToString();
  std::string group = absl::StrCat(item.app.value());
  for (const std::string& part : {item.recipient.value(), item.type, item.object_id}) {
    absl::StrAppend(&group, ":", part.size(), ":", part);
  }
  return Uuid::FromBytes(HashSecret(group).substr(0, 16))->ToString();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const NotificationType>> MessageBuilder::TypeOf(const Delivery& delivery) {
  std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(delivery.item.app, delivery.item.type);
  if (type != nullptr) return type;
  RETURN_IF_ERROR(deps_.catalogue.Refresh());
  type = deps_.catalogue.Find(delivery.item.app, delivery.item.type);
  if (type != nullptr) return type;
  return absl::NotFoundError(absl::StrCat("type ", delivery.item.type, " is not in the catalogue"));
}

absl::Duration MessageBuilder::ClockOffsetOf(const Delivery& delivery) const {
  return deps_.catalogue.PolicyOf(delivery.item.app)->clock_offset;
}

absl::StatusOr<ProviderMessage> MessageBuilder::Build(const Delivery& delivery, const NotificationType& type,
                                                      const ClaimResult& claim) const {
  const Notification& item = delivery.item;
  const LinkTarget target = TargetOf(delivery);
  const absl::Duration clock_offset = ClockOffsetOf(delivery);
  ProviderMessage message{.delivery_id = delivery.id,
                          .notification_id = item.id,
                          .app = item.app,
                          .type = item.type,
                          .recipient_id = item.recipient.value(),
                          .object_id = item.object_id,
                          .actor_id = item.actor_id,
                          .data_json = item.data_json,
                          .address = claim.address,
                          .collapse_id = CollapseIdOf(item, type),
                          .urgent = type.lane == Lane::kPayment || type.lane == Lane::kOtp,
                          .create_time = item.create_time - clock_offset,
                          .expire_time = std::nullopt,
                          .receipt_token = deps_.links.ReceiptToken(target),
                          .traceparent = item.traceparent,
                          .at_most_once = type.at_most_once};
  if (item.expire_time.has_value()) message.expire_time = *item.expire_time - clock_offset;
  const bool is_mail = delivery.channel == Channel::kEmail;
  if (is_mail && type.unsubscribable) {
    message.unsubscribe_url = deps_.links.UnsubscribeUrl(target, item.type, claim.address);
  }

  std::shared_ptr<const v1::Template> words =
      deps_.directory.FindTemplate(item.app, item.type, delivery.channel, claim.locale, claim.default_locale);
  if (words == nullptr) words = std::make_shared<const v1::Template>(DefaultTemplate(delivery.channel));
  const RenderInput input{.notification = item, .type = type, .unsubscribe_url = message.unsubscribe_url};
  ASSIGN_OR_RETURN(message.content, RenderContent(*words, delivery.channel, input));
  if (words->has_push()) message.sound = words->push().sound();
  if (is_mail) {
    ASSIGN_OR_RETURN(message.reply_to, RenderReplyTo(*words, input));
  }
  if (is_mail && type.track_interactions) {
    TrackLinks(
        deps_.links.PixelUrl(target), [&](const std::string& url) { return deps_.links.ClickUrl(target, url); },
        &message.content, message.unsubscribe_url);
  }
  return message;
}

std::string MessageBuilder::ReceiptUrl(const Delivery& delivery, const v1::Provider& settings) const {
  if (settings.has_twilio()) return deps_.links.ReceiptUrl("twilio", TargetOf(delivery));
  if (settings.has_vonage()) return deps_.links.ReceiptUrl("vonage", TargetOf(delivery));
  return "";
}

}  // namespace carillon
