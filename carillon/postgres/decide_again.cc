// How a decision about deliveries that were held is carried out:
// PostgresDeliveryStore::DecideAgain.
#include <set>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/delivery_begin.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/delivery_store.h"
#include "carillon/postgres/feed_items.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

// Whoever deletes the row that it waited by carries it out; nobody else finds one.
constexpr char kDecideAgain[] = R"sql(
  , due AS MATERIALIZED (
    DELETE FROM schedules s USING input WHERE s.message_id = input.delivery_id AND s.cause = 'hold' RETURNING s.message_id
  ), outgoing AS MATERIALIZED (
    UPDATE deliveries d
    SET state = input.state, detail = input.detail, trail = newest_trail(d.trail, input.trail), touched_at = clock_timestamp(),
        finished_at = CASE WHEN input.state NOT IN ('pending', 'held') THEN clock_timestamp() END,
        payload = CASE WHEN input.state IN ('pending', 'held') THEN d.payload END
    FROM input JOIN due ON due.message_id = input.delivery_id
    WHERE d.notification_id = input.notification_id AND d.delivery_id = input.delivery_id
      AND d.retention_days = input.retention_days AND d.state = 'held'
    RETURNING d.notification_id, d.delivery_id, d.app_id, d.recipient_id, d.retention_days, d.type, d.lane, d.channel, d.device_id,
              d.state, d.detail, input.traceparent, d.payload, input.payload AS message, input.due_us, input.wait_payload,
              input.exchange, input.routing_key, input.digest_id
  )
)sql";

constexpr char kGoOn[] = R"sql(
  , queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT delivery_id, app_id, lane, 'carillon.delivery', lane || '.' || channel, type, traceparent, message
    FROM outgoing WHERE state = 'pending'
    -- Its message to decide on it may be there again: that would do nothing any more.
    ON CONFLICT (message_id, lane, deferred) DO UPDATE
    SET exchange = EXCLUDED.exchange, routing_key = EXCLUDED.routing_key, type = EXCLUDED.type,
        traceparent = EXCLUDED.traceparent, payload = EXCLUDED.payload
  ), ended AS MATERIALIZED (
    SELECT *, false AS counted FROM outgoing WHERE state NOT IN ('pending', 'held')
  ), changed AS MATERIALIZED (
    SELECT *, NULL::text AS provider, NULL::text AS provider_message_id, NULL::text AS code FROM ended
  )
)sql";

std::string DecideAgainSql() {
  return absl::StrCat("WITH ", OutgoingSql("input", 1, ""), kDecideAgain, WaitSql(), kGoOn, kCloseNotifications,
                      kCountAndTell, " SELECT delivery_id FROM outgoing");
}

std::vector<FeedAddition*> ShownOf(absl::Span<const Redecision> decisions, const std::set<Uuid>& carried) {
  std::vector<FeedAddition*> shown;
  for (const Redecision& decision : decisions) {
    if (decision.shown == nullptr) continue;
    decision.shown->item.seq = 0;
    if (carried.contains(decision.delivery->id)) shown.push_back(decision.shown);
  }
  return shown;
}

}  // namespace

absl::StatusOr<int> PostgresDeliveryStore::DecideAgain(absl::Span<const Redecision> decisions) {
  static const std::string sql = DecideAgainSql();
  static const PgStatement kStatement = {"decide_again", sql.c_str()};
  OutgoingColumns columns;
  for (const Redecision& decision : decisions) {
    const Notification& item = decision.delivery->item;
    const FeedKey key{item.app, item.recipient};
    columns.Add({.notification_id = item.id,
                 .key = key,
                 .retention_days = item.retention_days,
                 .type = item.type,
                 .lane = decision.lane,
                 .exchange = decision.exchange,
                 .routing_key = decision.routing_key,
                 .traceparent = item.traceparent},
                {.id = decision.delivery->id,
                 .channel = decision.delivery->channel,
                 .device_id = decision.delivery->device_id,
                 .fate = decision.fate,
                 // With the time it waited for, which what is kept does not know.
                 .envelope = EncodeEnvelope(*decision.delivery)});
  }
  int decided = 0;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    std::set<Uuid> carried;
    for (const auto& row : columns.Execute(session, transaction, kStatement)) carried.insert(UuidOf(row[0]));
    AddFeedItems(session, transaction, ShownOf(decisions, carried));
    decided = static_cast<int>(carried.size());
    return absl::OkStatus();
  }));
  return decided;
}

}  // namespace carillon
