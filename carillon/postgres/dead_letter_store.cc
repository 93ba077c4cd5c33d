#include <limits>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/upkeep_store.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

// A letter whose notification had ended otherwise is kept as moot; one that was
// recorded before is left as it is. Notifications are locked in the order of ids.
// Reactions end here too: nothing queues them again. An event whose page was given
// up pauses, unless the page was told meanwhile: to resume it is to try again.
constexpr char kEndDead[] = R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[], $19::uuid[], $20::smallint[])
      WITH ORDINALITY AS rows (app_id, notification_id, retry_count, queue, lane, message_id, type, exchange, routing_key,
                               reason, error, traceparent, payload, delivery_id, retention_days, position)
    ORDER BY notification_id
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
                            reason, error, traceparent, payload)
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
         queue, lane, message_id, type, exchange, routing_key, reason, error, traceparent, payload
  FROM input ORDER BY position
  ON CONFLICT (queue, message_id) WHERE state IN ('dead', 'moot') AND message_id IS NOT NULL DO NOTHING
)sql";

constexpr PgStatement kListDeadLetters = {"list_dead_letters", R"sql(
  SELECT dead_letter_id, app_id, notification_id, queue, lane, message_id, type, exchange, routing_key, reason, error, retry_count,
         (extract(epoch FROM dead_at) * 1e6)::bigint AS dead_us
  FROM dead_letters
  WHERE (app_id = $1 OR app_id IS NULL) AND dead_letter_id < $2 AND ($3 = '' OR queue = $3) AND state = 'dead'
  ORDER BY dead_letter_id DESC LIMIT $4
)sql"};

DeadLetter ToDeadLetter(const pqxx::row& row) {
  DeadLetter letter;
  letter.id = row["dead_letter_id"].as<int64_t>();
  if (!row["app_id"].is_null()) letter.app = AppId(row["app_id"].as<int64_t>());
  if (!row["notification_id"].is_null()) letter.notification_id = UuidOf(row["notification_id"]);
  letter.queue = OwnedText(row["queue"]);
  letter.lane = OwnedText(row["lane"]);
  letter.message_id = OwnedText(row["message_id"]);
  letter.type = OwnedText(row["type"]);
  letter.exchange = OwnedText(row["exchange"]);
  letter.routing_key = OwnedText(row["routing_key"]);
  letter.reason = OwnedText(row["reason"]);
  letter.error = OwnedText(row["error"]);
  letter.retry_count = row["retry_count"].as<int>();
  letter.dead_time = TimeOf(row["dead_us"]);
  return letter;
}

// The pages of events among the letters, column by column.
struct PageColumns {
  void Add(const DeadLetter& letter) {
    if (ParseLane(letter.lane) != Lane::kFanout) return;
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
      payloads, groups, deliveries, retentions;
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
    for (const Uuid& group : letter.reaction_groups) groups.Add(group);
    pages.Add(letter);
  }
  static const std::string sql = absl::StrCat(kEndDead, kCloseNotifications, kCountAndTell, kKeepLetters);
  static const PgStatement kRecordDeadLetters = {"record_dead_letters", sql.c_str()};
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kRecordDeadLetters, apps.str(), notifications.str(), retries.str(), queues.str(),
                    lanes.str(), messages.str(), types.str(), exchanges.str(), keys.str(), reasons.str(), errors.str(),
                    traces.str(), payloads.str(), groups.str(), pages.events.str(), pages.shards.str(),
                    pages.cursors.str(), pages.errors.str(), deliveries.str(), retentions.str());
  });
}

absl::StatusOr<std::vector<DeadLetter>> PostgresDeadLetterStore::List(const ListQuery& query) {
  std::vector<DeadLetter> letters;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    letters.clear();
    const int64_t before = query.older_than.value_or(std::numeric_limits<int64_t>::max());
    for (const auto& row :
         session.Execute(transaction, kListDeadLetters, query.app.value(), before, query.queue, query.limit)) {
      letters.push_back(ToDeadLetter(row));
    }
  }));
  return letters;
}

}  // namespace carillon
