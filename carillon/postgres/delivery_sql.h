// Parts of statements that end or refine deliveries. What they say is the same
// whoever writes it: a worker, a receipt, a dead letter.
#pragma once

namespace carillon {

// Goes on after a CTE `ended` of deliveries that the statement has just ended, with
// columns (notification_id, retention_days, state, detail, counted). Moves their
// notifications, unless they have counted this delivery before: one whose last
// delivery this was ends with the best of its channels. Notifications are locked in
// the order of their ids.
inline constexpr char kCloseNotifications[] = R"sql(
  , closing AS MATERIALIZED (
    SELECT notification_id, retention_days, count(*) AS ends,
           min(CASE WHEN state IN ('sent', 'delivered', 'undelivered') THEN 1 WHEN state = 'dead' THEN 2
                    WHEN state = 'expired' THEN 3 ELSE 4 END) AS rank,
           (array_agg(detail) FILTER (WHERE detail IS NOT NULL))[1] AS detail
    FROM ended WHERE NOT counted GROUP BY notification_id, retention_days ORDER BY notification_id
  ), closed AS (
    UPDATE notifications n
    SET open_deliveries = n.open_deliveries - closing.ends,
        outcome = better_outcome(n.outcome, outcome_of_rank(closing.rank)),
        state = CASE WHEN n.open_deliveries <= closing.ends THEN better_outcome(n.outcome, outcome_of_rank(closing.rank))
                     ELSE n.state END,
        detail = CASE WHEN better_outcome(n.outcome, outcome_of_rank(closing.rank)) = 'delivered' THEN NULL
                      ELSE coalesce(closing.detail, n.detail) END,
        finished_at = CASE WHEN n.open_deliveries <= closing.ends THEN clock_timestamp() END
    FROM closing
    WHERE n.notification_id = closing.notification_id AND n.retention_days = closing.retention_days
      AND n.finished_at IS NULL AND n.open_deliveries IS NOT NULL
  )
)sql";

// Goes on after a CTE `changed` of deliveries whose state has just become another,
// with columns (app_id, notification_id, delivery_id, recipient_id, lane, type,
// channel, state, provider, provider_message_id, code). Counts them and tells
// carillon.events.
inline constexpr char kCountAndTell[] = R"sql(
  , counted AS (
    INSERT INTO daily_stats AS stats (app_id, count, day, part, type, channel, kind)
    SELECT app_id, count(*), (now() AT TIME ZONE 'UTC')::date, pg_backend_pid() % 8, type, channel, state
    FROM changed GROUP BY app_id, type, channel, state ORDER BY app_id, type, channel, state
    ON CONFLICT (app_id, day, type, channel, kind, part) DO UPDATE SET count = stats.count + EXCLUDED.count
  ), told AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
    SELECT new_uuid7(), app_id, 'marketing', 'carillon.events', state || '.' || lane || '.' || channel, type,
           delivery_event(state, app_id, notification_id, delivery_id, recipient_id, type, channel, provider,
                          provider_message_id, code)
    FROM changed
  )
)sql";

}  // namespace carillon
