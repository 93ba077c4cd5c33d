#include "carillon/channels/event_messages.h"

#include "absl/strings/str_cat.h"
#include "carillon/channels/in_app_template.h"

namespace carillon {

Notification AsNotification(const Event& event, const std::string& recipient) {
  Notification n;
  n.id = event.id;
  n.app = event.app;
  n.type = event.type;
  n.recipient = RecipientId(recipient);
  n.actor_id = event.actor_id;
  n.object_id = event.object_id;
  n.data_json = event.data_json;
  n.create_time = event.create_time;
  return n;
}

Notification AsDelivered(const Event& event, const NotificationType& type, const WrittenItem& item) {
  Notification n = AsNotification(event, item.recipient);
  n.id = item.id;
  n.channels = type.channels;
  n.retention_days = event.retention_days;
  n.traceparent = event.traceparent;
  if (type.ttl.has_value()) n.expire_time = event.create_time + *type.ttl;
  return n;
}

std::string DedupeKeyOf(const Event& event, const NotificationType& type) {
  return type.dedupe_key.empty() ? "" : RenderText(type.dedupe_key, AsNotification(event, ""));
}

std::string WithinWindow(const std::string& key, const NotificationType& type) {
  return absl::StrCat("another event of its type with the key \"", key, "\" came less than ",
                      absl::FormatDuration(type.dedupe_window), " before");
}

}  // namespace carillon
