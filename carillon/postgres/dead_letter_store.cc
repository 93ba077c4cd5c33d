#include "carillon/postgres/dead_letter_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

// Headers of others may say anything: what a column takes.
constexpr int kMostReplays = 1000;

// A letter whose notification had ended otherwise is kept as moot; one that was
// recorded before is left as it is. Notifications are locked in the order of ids.
// Reactions end here too: nothing queues them again. An event whose page was given
// up pauses, unless the page was told meanwhile: to resume it is to try again.
//
// A letter that was put back since its message was taken is no news: not while what was
// put back has not left, or has hardly, and never if the broker gives it once more: then
// it may be the death that was recorded before, however long ago. It says so by its
// count, unless it has waited somewhere that forgets it: what is passed over so wrongly
// housekeeping queues again. How often it was put back is told by what is recorded.
constexpr char kEndDead[] = R"sql(
  WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[], $19::uuid[], $20::smallint[],
                         $21::smallint[], $22::boolean[])
      WITH ORDINALITY AS rows (app_id, notification_id, retry_count, queue, lane, message_id, type, exchange, routing_key,
                               reason, error, traceparent, payload, delivery_id, retention_days, told_count, redelivered, position)
  ), input AS MATERIALIZED (
    SELECT given.*, earlier.dead_letter_id AS earlier_id, greatest(told_count, earlier.replay_count + 1) AS replay_count
    FROM given LEFT JOIN LATERAL (
      SELECT l.dead_letter_id, l.replay_count, l.replayed_at FROM dead_letters l
      WHERE l.state = 'replayed' AND l.message_id = given.message_id AND l.queue = given.queue
      ORDER BY l.replay_count DESC LIMIT 1
    ) AS earlier ON true
    WHERE NOT (retention_days > 0 AND told_count <= coalesce(earlier.replay_count, -1)
               AND (redelivered OR earlier.replayed_at > now() - interval '1 minute'
                    OR EXISTS (SELECT FROM outbox o WHERE o.message_id = coalesce(given.delivery_id, given.notification_id))))
    ORDER BY notification_id
  ), died_again AS (
    UPDATE dead_letters l SET died_again_at = clock_timestamp()
    FROM input WHERE l.dead_letter_id = input.earlier_id AND l.died_again_at IS NULL
  ), died AS (
    UPDATE notifications n SET state = 'dead', finished_at = clock_timestamp(), detail = coalesce(input.error, input.reason)
    FROM input WHERE input.delivery_id IS NULL AND n.notification_id = input.notification_id AND n.finished_at IS NULL
      AND n.open_deliveries IS NULL
    RETURNING n.notification_id
  ), ended AS MATERIALIZED (
    UPDATE deliveries d
    -- What is sent a second time a provider had once.
    SET state = CASE WHEN d.resent THEN 'undelivered' ELSE 'dead' END, finished_at = clock_timestamp(), claimed_until = NULL,
        payload = NULL, detail = coalesce(input.error, input.reason)
    FROM input
    WHERE d.notification_id = input.notification_id AND d.delivery_id = input.delivery_id
      AND d.retention_days = input.retention_days AND d.finished_at IS NULL
    RETURNING d.*, d.resent AS counted, NULL::text AS code
  ), changed AS MATERIALIZED (
    SELECT * FROM ended
  ), not_queued_again AS (
    DELETE FROM reaction_groups WHERE group_id = ANY ($14::uuid[])
  ), paused AS (
    UPDATE events e SET state = 'paused', detail = 'a page was given up, resume tries it again: ' || page.error
    FROM unnest($15::uuid[], $16::smallint[], $17::text[], $18::text[]) AS page (event_id, shard, cursor, error)
    WHERE e.event_id = page.event_id AND e.state IN ('accepted', 'expanding')
      AND EXISTS (SELECT FROM event_shards s
                  WHERE s.event_id = page.event_id AND s.shard = page.shard AND s.cursor = page.cursor AND NOT s.done)
  )
)sql";

constexpr char kKeepLetters[] = R"sql(
  INSERT INTO dead_letters (app_id, notification_id, retry_count, state, queue, lane, message_id, type, exchange, routing_key,
                            reason, error, traceparent, payload, delivery_id, retention_days, replay_count, error_kind, provider)
  SELECT app_id, notification_id, retry_count,
         CASE WHEN delivery_id IS NOT NULL
                   THEN CASE WHEN delivery_id IN (SELECT delivery_id FROM ended)
                                  OR EXISTS (SELECT FROM deliveries d
                                             WHERE d.notification_id = input.notification_id AND d.delivery_id = input.delivery_id
                                               AND d.retention_days = input.retention_days
                                               AND (d.state = 'dead' OR d.resent AND d.state = 'undelivered'))
                             THEN 'dead' ELSE 'moot' END
              WHEN notification_id IS NULL OR notification_id IN (SELECT notification_id FROM died)
                   OR NOT EXISTS (SELECT FROM notifications n WHERE n.notification_id = input.notification_id AND n.state <> 'dead')
              THEN 'dead' ELSE 'moot' END,
         queue, lane, message_id, type, exchange, routing_key, reason, error, traceparent, payload, delivery_id,
         nullif(retention_days, 0), replay_count, error_kind(error),
         (SELECT coalesce(d.attempts -> -1 ->> 'provider', d.provider) FROM deliveries d
          WHERE d.notification_id = input.notification_id AND d.delivery_id = input.delivery_id
            AND d.retention_days = input.retention_days)
  FROM input ORDER BY position
  ON CONFLICT (queue, message_id) WHERE state IN ('dead', 'moot') AND message_id IS NOT NULL DO NOTHING
)sql";

// The pages of events among the letters, column by column.
struct PageColumns {
  void Add(const DeadLetter& letter) {
    if (letter.is_opaque || ParseLane(letter.lane) != Lane::kFanout) return;
    const absl::StatusOr<EnvelopeContents> contents = DecodeContents(letter.payload);
    if (!contents.ok()) return;
    for (const FanoutPage& page : contents->pages) {
      events.Add(page.event_id);
      shards.Add(static_cast<int64_t>(page.shard));
      cursors.Add(page.cursor);
      errors.Add(letter.error.empty() ? letter.reason : letter.error);
    }
  }

  PgArray events, shards, cursors, errors;
};

}  // namespace

absl::Status PostgresDeadLetterStore::Record(absl::Span<const DeadLetter> letters) {
  PgArray apps, notifications, retries, queues, lanes, messages, types, exchanges, keys, reasons, errors, traces,
      payloads, groups, deliveries, retentions, replays, redelivered;
  PageColumns pages;
  for (const DeadLetter& letter : letters) {
    letter.app.has_value() ? apps.Add(letter.app->value()) : apps.AddNull();
    letter.notification_id.has_value() ? notifications.Add(*letter.notification_id) : notifications.AddNull();
    retries.Add(letter.retry_count);
    queues.Add(letter.queue);
    lanes.AddOrNull(letter.lane);
    messages.AddOrNull(letter.message_id);
    types.AddOrNull(letter.type);
    exchanges.AddOrNull(letter.exchange);
    keys.AddOrNull(letter.routing_key);
    reasons.Add(letter.reason);
    errors.AddOrNull(letter.error);
    traces.AddOrNull(letter.traceparent);
    payloads.AddBytes(letter.payload);
    letter.delivery_id.has_value() ? deliveries.Add(*letter.delivery_id) : deliveries.AddNull();
    retentions.Add(letter.retention_days);
    replays.Add(std::clamp(letter.replay_count, 0, kMostReplays));
    redelivered.Add(letter.redelivered);
    for (const Uuid& group : letter.reaction_groups) groups.Add(group);
    pages.Add(letter);
  }
  static const std::string sql = absl::StrCat(kEndDead, kCloseNotifications, kCountAndTell, kKeepLetters);
  static const PgStatement kRecordDeadLetters = {"record_dead_letters", sql.c_str()};
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kRecordDeadLetters, apps.str(), notifications.str(), retries.str(), queues.str(),
                    lanes.str(), messages.str(), types.str(), exchanges.str(), keys.str(), reasons.str(), errors.str(),
                    traces.str(), payloads.str(), groups.str(), pages.events.str(), pages.shards.str(),
                    pages.cursors.str(), pages.errors.str(), deliveries.str(), retentions.str(), replays.str(),
                    redelivered.str());
  });
}

}  // namespace carillon
