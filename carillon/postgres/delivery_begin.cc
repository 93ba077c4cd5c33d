#include "carillon/postgres/delivery_begin.h"

#include "absl/strings/str_cat.h"
#include "carillon/postgres/trail_json.h"

namespace carillon {
namespace {

// The columns of `outgoing`, in the order of OutgoingColumns.
constexpr const char* kColumns[][2] = {
    {"notification_id", "uuid"},    {"delivery_id", "uuid"}, {"app_id", "bigint"}, {"recipient_id", "text"},
    {"retention_days", "smallint"}, {"type", "text"},        {"lane", "text"},     {"channel", "text"},
    {"device_id", "text"},          {"state", "text"},       {"detail", "text"},   {"traceparent", "text"},
    {"payload", "bytea"},           {"trail", "jsonb"},      {"due_us", "bigint"}, {"wait_payload", "bytea"},
    {"exchange", "text"},           {"routing_key", "text"}, {"digest_id", "uuid"}};

// Digests are locked in the order of their keys. Whoever comes while one is closed
// waits for that, and begins the next.
constexpr char kWait[] = R"sql(
  , digest_wanted AS MATERIALIZED (
    SELECT DISTINCT ON (app_id, recipient_id, channel) digest_id, app_id, recipient_id, channel, due_us, wait_payload
    FROM outgoing WHERE digest_id IS NOT NULL ORDER BY app_id, recipient_id, channel
  ), digest_open AS (
    INSERT INTO digests (digest_id, app_id, channel, recipient_id)
    SELECT digest_id, app_id, channel, recipient_id FROM digest_wanted ORDER BY app_id, recipient_id, channel
    ON CONFLICT (app_id, recipient_id, channel) WHERE closed_at IS NULL DO UPDATE SET touched_at = clock_timestamp()
    RETURNING digest_id, app_id, recipient_id, channel
  ), entered AS (
    INSERT INTO digest_entries (digest_id, notification_id, delivery_id, retention_days)
    SELECT o.digest_id, g.notification_id, g.delivery_id, g.retention_days
    FROM outgoing g JOIN digest_open o USING (app_id, recipient_id, channel) WHERE g.digest_id IS NOT NULL
  ), waiting AS (
    INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                           exchange, routing_key, type, traceparent, payload)
    SELECT app_id, to_timestamp(due_us / 1e6::float8), notification_id, delivery_id, retention_days, lane, 'hold', channel,
           recipient_id, exchange, routing_key, type, traceparent, wait_payload
    FROM outgoing WHERE state = 'held' AND digest_id IS NULL
    UNION ALL
    SELECT w.app_id, to_timestamp(w.due_us / 1e6::float8), digest_id, digest_id, 7, 'marketing', 'digest', w.channel,
           w.recipient_id, 'carillon.topic', 'marketing.digest', 'marketing.digest', NULL, w.wait_payload
    FROM digest_wanted w JOIN digest_open USING (digest_id)
  )
)sql";

constexpr char kBegin[] = R"sql(
  , begun AS (
    INSERT INTO deliveries (notification_id, delivery_id, app_id, finished_at, retention_days, lane, channel, state, type,
                            recipient_id, device_id, detail, payload, trail)
    SELECT notification_id, delivery_id, app_id, CASE WHEN state NOT IN ('pending', 'held') THEN clock_timestamp() END,
           retention_days, lane, channel, state, type, recipient_id, device_id, detail, payload, trail
    FROM outgoing
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT delivery_id, app_id, lane, 'carillon.delivery', lane || '.' || channel, type, traceparent, payload
    FROM outgoing WHERE state = 'pending'
  ), changed AS MATERIALIZED (
    SELECT *, NULL::text AS provider, NULL::text AS provider_message_id, NULL::text AS code
    FROM outgoing WHERE state NOT IN ('pending', 'held')
  )
)sql";

}  // namespace

void OutgoingColumns::Add(const DeliveryOrigin& origin, const NewDelivery& delivery) {
  const DeliveryFate& fate = delivery.fate;
  any_ = true;
  notifications_.Add(origin.notification_id);
  ids_.Add(delivery.id);
  apps_.Add(origin.key.app.value());
  recipients_.Add(origin.key.recipient.value());
  retentions_.Add(origin.retention_days);
  types_.Add(origin.type);
  lanes_.Add(ToString(origin.lane));
  channels_.Add(ToString(delivery.channel));
  devices_.AddOrNull(delivery.device_id);
  states_.Add(ToString(fate.state));
  details_.AddOrNull(fate.detail);
  traceparents_.AddOrNull(origin.traceparent);
  payloads_.AddBytesOrNull(delivery.envelope);
  fate.trail.has_value() ? trails_.Add(EncodeTrail(*fate.trail)) : trails_.AddNull();
  exchanges_.Add(origin.exchange);
  routing_keys_.Add(origin.routing_key);
  if (fate.digest.has_value()) {
    due_.Add(fate.digest->due_time);
    waits_.AddBytes(fate.digest->envelope);
    digests_.Add(fate.digest->id);
    return;
  }
  digests_.AddNull();
  fate.hold_until.has_value() ? due_.Add(*fate.hold_until) : due_.AddNull();
  waits_.AddBytesOrNull(fate.again);
}

std::string OutgoingSql(absl::string_view cte, int first_parameter, absl::string_view filter) {
  std::string parameters, names;
  for (const auto& [name, type] : kColumns) {
    const absl::string_view comma = names.empty() ? "" : ", ";
    absl::StrAppend(&parameters, comma, "$", first_parameter++, "::", type, "[]");
    absl::StrAppend(&names, comma, name);
  }
  return absl::StrCat(cte, " AS MATERIALIZED (SELECT d.* FROM unnest(", parameters, ") AS d (", names, ") ", filter,
                      ")");
}

std::string BeginOutgoingSql() { return absl::StrCat(kWait, kBegin); }
std::string WaitSql() { return kWait; }

}  // namespace carillon
