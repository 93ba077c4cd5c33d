#include "carillon/postgres/schedules.h"

#include "absl/strings/substitute.h"

namespace carillon {
namespace {

// $0 says which: a condition on schedules, with parameters of its own. What somebody
// else carries out stays, put off by more than a queue takes: if its message is lost it
// is released again, and who carries it out deletes it. What was scheduled moves with its
// notification.
constexpr char kRelease[] = R"sql(
  WITH due AS MATERIALIZED (
    SELECT schedule_id, cause FROM schedules WHERE $0 FOR UPDATE SKIP LOCKED
  ), gone AS MATERIALIZED (
    DELETE FROM schedules s USING due
    WHERE s.schedule_id = due.schedule_id AND due.cause NOT IN ('hold', 'digest', 'window', 'send_time')
    RETURNING s.*
  ), put_off AS MATERIALIZED (
    UPDATE schedules s SET due_at = now() + interval '15 minutes' FROM due
    WHERE s.schedule_id = due.schedule_id AND due.cause IN ('hold', 'digest', 'window')
    RETURNING s.*
  ), woken AS MATERIALIZED (
    UPDATE deliveries d SET state = 'pending', touched_at = clock_timestamp()
    FROM gone
    WHERE d.notification_id = gone.notification_id AND d.delivery_id = gone.message_id
      AND d.retention_days = gone.retention_days AND d.finished_at IS NULL
    RETURNING gone.message_id
  ), leaving AS (
    SELECT * FROM gone WHERE message_id IN (SELECT message_id FROM woken)
    UNION ALL
    SELECT * FROM put_off
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT message_id, app_id, lane, exchange, routing_key, type, traceparent, payload FROM leaving
    ON CONFLICT DO NOTHING
  ), scheduled AS (
    SELECT array_agg(schedule_id) AS ids FROM due WHERE cause = 'send_time'
  )
  SELECT (SELECT count(*) FROM due), CASE WHEN ids IS NOT NULL THEN release_scheduled(ids) END FROM scheduled
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
