#include "carillon/postgres/schedules.h"

#include "absl/strings/substitute.h"

namespace carillon {
namespace {

// $0 says which: a condition on schedules, with parameters of its own.
constexpr char kRelease[] = R"sql(
  WITH due AS MATERIALIZED (
    DELETE FROM schedules WHERE schedule_id IN (
      SELECT schedule_id FROM schedules WHERE $0 FOR UPDATE SKIP LOCKED)
    RETURNING *
  ), woken AS MATERIALIZED (
    UPDATE deliveries d SET state = 'pending', touched_at = clock_timestamp()
    FROM due
    WHERE d.notification_id = due.notification_id AND d.delivery_id = due.message_id
      AND d.retention_days = due.retention_days AND d.finished_at IS NULL
    RETURNING due.message_id, due.app_id, due.lane, due.exchange, due.routing_key, due.type, due.traceparent, due.payload
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT message_id, app_id, lane, exchange, routing_key, type, traceparent, payload FROM woken
    ON CONFLICT DO NOTHING
  )
  SELECT count(*) FROM due
)sql";

}  // namespace

int ReleaseDueRows(PgSession& session, pqxx::transaction_base& transaction, Lane lane, int limit) {
  static const std::string sql = absl::Substitute(kRelease, "lane = $1 AND due_at <= now() ORDER BY due_at LIMIT $2");
  static const PgStatement kReleaseDue = {"release_due", sql.c_str()};
  return session.Execute(transaction, kReleaseDue, std::string(ToString(lane)), limit)[0][0].as<int>();
}

int ReleaseHeldRows(PgSession& session, pqxx::transaction_base& transaction, AppId app, Channel channel, Lane lane,
                    int limit) {
  // The longest held first, so that one that fails again gives way to the others. No
  // other index has that order: the planner would look for an app's few rows among
  // those of all apps.
  static const std::string sql = absl::Substitute(
      kRelease, "app_id = $1 AND channel = $2 AND lane = $3 AND cause = 'provider' ORDER BY held_at LIMIT $4");
  static const PgStatement kReleaseHeld = {"release_held", sql.c_str()};
  return session
      .Execute(transaction, kReleaseHeld, app.value(), std::string(ToString(channel)), std::string(ToString(lane)),
               limit)[0][0]
      .as<int>();
}

}  // namespace carillon
