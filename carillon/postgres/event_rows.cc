#include "carillon/postgres/event_rows.h"

#include <nlohmann/json.hpp>

#include "carillon/postgres/arrays.h"

namespace carillon {

EventRecord ToEventRecord(const pqxx::row& row) {
  EventRecord record;
  Event& event = record.event;
  event.id = UuidOf(row["event_id"]);
  event.app = AppId(row["app_id"].as<int64_t>());
  event.lane = ParseLane(Text(row["lane"])).value_or(Lane::kSocial);
  event.type = OwnedText(row["type"]);
  event.audience.kind = ParseAudienceKind(Text(row["audience"])).value_or(AudienceKind::kUsers);
  event.audience.id = OwnedText(row["audience_id"]);
  event.actor_id = OwnedText(row["actor_id"]);
  event.object_id = OwnedText(row["object_id"]);
  event.data_json = OwnedText(row["data"]);
  event.traceparent = OwnedText(row["traceparent"]);
  event.retention_days = row["retention_days"].as<int>();
  event.create_time = TimeOf(row["created_us"]);
  record.state = ParseEventState(Text(row["state"])).value_or(EventState::kAccepted);
  record.detail = OwnedText(row["detail"]);
  record.idempotency_key = OwnedText(row["idempotency_key"]);
  record.shared = !row["position"].is_null();
  record.audience_size = row["audience_size"].as<int64_t>(0);
  record.expanded = row["expanded"].as<int64_t>();
  if (!row["started_us"].is_null()) record.start_time = TimeOf(row["started_us"]);
  if (!row["finished_us"].is_null()) record.finish_time = TimeOf(row["finished_us"]);
  if (!row["suppressed"].is_null()) {
    record.suppressed = nlohmann::json::parse(Text(row["suppressed"])).get<std::map<std::string, int64_t>>();
  }
  record.read_time = TimeOf(row["read_us"]);
  return record;
}

}  // namespace carillon
