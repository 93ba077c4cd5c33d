// Rows of the tables events and event_shards as domain values. Free functions.
#pragma once

#include <pqxx/pqxx>

#include "carillon/domain/event.h"

namespace carillon {

// What ToEvent and ToEventRecord read; e is the event. Without its users.
inline constexpr const char* kEventColumns = R"sql(
  e.event_id, e.app_id, e.lane, e.state, e.audience, e.audience_id, e.type, e.actor_id, e.object_id, e.data, e.traceparent,
  e.retention_days, e.detail, e.idempotency_key, e.position, e.audience_size, e.suppressed,
  (extract(epoch FROM e.created_at) * 1e6)::bigint AS created_us,
  (extract(epoch FROM e.started_at) * 1e6)::bigint AS started_us,
  (extract(epoch FROM e.finished_at) * 1e6)::bigint AS finished_us,
  (extract(epoch FROM clock_timestamp()) * 1e6)::bigint AS read_us,
  coalesce((SELECT sum(s.expanded) FROM event_shards s WHERE s.event_id = e.event_id), 0)::bigint AS expanded
)sql";

EventRecord ToEventRecord(const pqxx::row& row);

}  // namespace carillon
