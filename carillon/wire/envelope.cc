#include "carillon/wire/envelope.h"

#include "carillon/internal/v1/envelope.pb.h"

namespace carillon {

std::string EncodeEnvelope(const Notification& notification) {
  internal::v1::Envelope envelope;
  envelope.set_app_id(notification.app.value());
  envelope.set_type(notification.type);
  internal::v1::Item& item = *envelope.add_items();
  const absl::string_view id = notification.id.bytes();
  item.set_notification_id(id.data(), id.size());
  item.set_recipient_id(notification.recipient.value());
  item.set_actor_id(notification.actor_id);
  item.set_object_id(notification.object_id);
  item.set_data_json(notification.data_json);
  item.set_accept_time_us(absl::ToUnixMicros(notification.create_time));
  if (notification.expire_time.has_value()) item.set_expire_time_us(absl::ToUnixMicros(*notification.expire_time));
  item.set_retention_days(notification.retention_days);
  for (const Channel channel : notification.channels) item.add_channels(static_cast<int>(channel));
  item.set_traceparent(notification.traceparent);
  return envelope.SerializeAsString();
}

absl::StatusOr<std::vector<Notification>> DecodeEnvelope(absl::string_view body) {
  internal::v1::Envelope envelope;
  if (!envelope.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return absl::InvalidArgumentError("the message is not an envelope");
  }
  if (envelope.app_id() <= 0 || envelope.type().empty() || envelope.items().empty()) {
    return absl::InvalidArgumentError("the envelope lacks its app, its type or its items");
  }
  std::vector<Notification> notifications;
  for (const internal::v1::Item& item : envelope.items()) {
    const std::optional<Uuid> id = Uuid::FromBytes(item.notification_id());
    if (!id.has_value() || item.recipient_id().empty() || item.retention_days() <= 0) {
      return absl::InvalidArgumentError("an item lacks its id, its recipient or its retention class");
    }
    Notification& n = notifications.emplace_back();
    n.id = *id;
    n.app = AppId(envelope.app_id());
    n.type = envelope.type();
    n.recipient = RecipientId(item.recipient_id());
    n.actor_id = item.actor_id();
    n.object_id = item.object_id();
    n.data_json = item.data_json();
    n.retention_days = item.retention_days();
    n.create_time = absl::FromUnixMicros(item.accept_time_us());
    if (item.expire_time_us() != 0) n.expire_time = absl::FromUnixMicros(item.expire_time_us());
    n.traceparent = item.traceparent();
    for (const int channel : item.channels()) n.channels.push_back(static_cast<Channel>(channel));
  }
  return notifications;
}

}  // namespace carillon
