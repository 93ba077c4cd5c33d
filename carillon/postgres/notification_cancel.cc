// What can still be stopped: PostgresNotificationStore::Cancel.
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/notification_store.h"

namespace carillon {
namespace {

// What others hold is on its way: it is passed over, never waited for.
constexpr PgStatement kCancelWhole = {"cancel_notification", R"sql(
  WITH waiting AS MATERIALIZED (
    SELECT schedule_id FROM schedules WHERE message_id = $2 AND app_id = $1 AND cause = 'send_time' FOR UPDATE SKIP LOCKED
  ), unscheduled AS (
    DELETE FROM schedules s USING waiting w WHERE s.schedule_id = w.schedule_id RETURNING s.message_id
  ), queued AS MATERIALIZED (
    SELECT message_id, lane, deferred FROM outbox WHERE message_id = $2 AND app_id = $1 FOR UPDATE SKIP LOCKED
  ), unqueued AS (
    DELETE FROM outbox o USING queued q WHERE o.message_id = q.message_id AND o.lane = q.lane AND o.deferred = q.deferred
    RETURNING o.message_id
  ), stopped AS MATERIALIZED (
    SELECT message_id FROM unscheduled UNION SELECT message_id FROM unqueued
  )
  UPDATE notifications n SET state = 'cancelled', finished_at = clock_timestamp(), detail = 'cancelled by the caller'
  FROM stopped
  WHERE n.notification_id = stopped.message_id AND n.notification_id = $2 AND n.app_id = $1
    AND n.finished_at IS NULL AND n.open_deliveries IS NULL
)sql"};

// Those that wait for a moment, a provider or a digest that is still open. One that was
// sent before, and waits for its second try, is none: it can't be as if it had not been.
constexpr char kCancelHeld[] = R"sql(
  WITH held AS MATERIALIZED (
    SELECT delivery_id FROM deliveries WHERE notification_id = $2 AND app_id = $1 AND state = 'held' AND NOT resent
  ), waiting AS MATERIALIZED (
    SELECT s.schedule_id, s.message_id FROM held JOIN schedules s ON s.message_id = held.delivery_id
    WHERE s.cause IN ('hold', 'provider', 'busy') FOR UPDATE OF s SKIP LOCKED
  ), unscheduled AS (
    DELETE FROM schedules s USING waiting w WHERE s.schedule_id = w.schedule_id RETURNING s.message_id
  ), folded AS MATERIALIZED (
    SELECT e.digest_id, e.delivery_id FROM held JOIN digest_entries e ON e.delivery_id = held.delivery_id
    JOIN digests g ON g.digest_id = e.digest_id WHERE g.closed_at IS NULL FOR UPDATE OF g, e SKIP LOCKED
  ), unfolded AS (
    DELETE FROM digest_entries e USING folded f WHERE e.digest_id = f.digest_id AND e.delivery_id = f.delivery_id
    RETURNING e.delivery_id
  ), stopped AS MATERIALIZED (
    SELECT message_id AS delivery_id FROM unscheduled UNION SELECT delivery_id FROM unfolded ORDER BY delivery_id
  ), ended AS MATERIALIZED (
    UPDATE deliveries d
    SET state = 'suppressed', finished_at = clock_timestamp(), touched_at = clock_timestamp(), claimed_until = NULL,
        payload = NULL, detail = 'cancelled by the caller'
    FROM stopped
    WHERE d.notification_id = $2 AND d.delivery_id = stopped.delivery_id AND d.state = 'held'
    RETURNING d.*, false AS counted, NULL::text AS code
  ), changed AS MATERIALIZED (
    SELECT * FROM ended
  )
)sql";

// What ended so had nothing else that was sent, died or expired.
constexpr PgStatement kCallCancelled = {"call_cancelled", R"sql(
  UPDATE notifications SET state = 'cancelled' WHERE notification_id = $2 AND app_id = $1 AND state = 'suppressed'
)sql"};

constexpr PgStatement kWasCancelled = {"was_cancelled", R"sql(
  SELECT FROM deliveries
  WHERE notification_id = $2 AND app_id = $1 AND state = 'suppressed' AND detail = 'cancelled by the caller' LIMIT 1
)sql"};

std::string WhyNot(State state) {
  switch (state) {
    case State::kAccepted:
    case State::kScheduled:
      return "it is leaving at this moment";
    case State::kQueued:
      return "it has left: a worker has it, or a provider";
    case State::kHeld:
      return "what is left of it has been with a provider";
    default:
      return absl::StrCat("it has ended: it is ", ToString(state));
  }
}

// True if anything was stopped.
bool Stop(PgSession& session, pqxx::work& transaction, AppId app, const NotificationId& id) {
  static const std::string held_sql =
      absl::StrCat(kCancelHeld, kCloseNotifications, kCountAndTell, " SELECT count(*) FROM ended");
  static const PgStatement kCancelDeliveries = {"cancel_deliveries", held_sql.c_str()};
  const std::string key = id.ToString();
  if (session.Execute(transaction, kCancelWhole, app.value(), key).affected_rows() > 0) return true;
  if (session.Execute(transaction, kCancelDeliveries, app.value(), key)[0][0].as<int>() == 0) return false;
  session.Execute(transaction, kCallCancelled, app.value(), key);
  return true;
}

}  // namespace

absl::Status PostgresNotificationStore::Cancel(AppId app, const NotificationId& id) {
  bool stopped = false;
  bool was_stopped = false;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    stopped = Stop(session, transaction, app, id);
    was_stopped = !stopped && !session.Execute(transaction, kWasCancelled, app.value(), id.ToString()).empty();
    return absl::OkStatus();
  }));
  if (stopped) return absl::OkStatus();
  ASSIGN_OR_RETURN(const NotificationRecord record, Get(app, id));
  if (was_stopped || record.state == State::kCancelled) return absl::OkStatus();
  return error::CannotCancel(id.ToString(), ToString(record.state), WhyNot(record.state));
}

}  // namespace carillon
