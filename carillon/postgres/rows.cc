#include "carillon/postgres/rows.h"

#include "carillon/postgres/arrays.h"

namespace carillon {

Notification NotificationOf(const pqxx::row& row) {
  Notification n;
  n.id = UuidOf(row["notification_id"]);
  n.app = AppId(row["app_id"].as<int64_t>());
  n.lane = ParseLane(Text(row["lane"])).value_or(Lane::kSocial);
  n.type = OwnedText(row["type"]);
  n.recipient = RecipientId(OwnedText(row["recipient_id"]));
  n.actor_id = OwnedText(row["actor_id"]);
  n.object_id = OwnedText(row["object_id"]);
  n.data_json = OwnedText(row["data"]);
  n.channels = ParseChannels(row["channels"]);
  n.retention_days = row["retention_days"].as<int>();
  n.create_time = TimeOf(row["created_us"]);
  if (!row["expires_us"].is_null()) n.expire_time = TimeOf(row["expires_us"]);
  return n;
}

}  // namespace carillon
