#include "carillon/postgres/explain_store.h"

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/trail_json.h"

namespace carillon {
namespace {

// One row, whatever there is.
constexpr PgStatement kReadNotification = {"explain_notification", R"sql(
  SELECT n.notification_id IS NOT NULL AS came_by_door, n.trail, f.seq, f.actor_count, r.time_zone
  FROM (SELECT) AS asked
  LEFT JOIN notifications n ON n.notification_id = $3 AND n.app_id = $1
  LEFT JOIN feed_items f ON f.notification_id = $3 AND f.app_id = $1 AND f.recipient_id = $2
  LEFT JOIN recipients r ON r.app_id = $1 AND r.recipient_id = $2
)sql"};

constexpr PgStatement kReadDeliveries = {"explain_deliveries", R"sql(
  SELECT d.delivery_id, d.channel, d.trail, wait.cause, e.digest_id, (extract(epoch FROM due.due_at) * 1e6)::bigint AS due_us
  FROM deliveries d
  LEFT JOIN schedules wait ON wait.message_id = d.delivery_id
  LEFT JOIN digest_entries e USING (delivery_id)
  LEFT JOIN schedules due ON due.message_id = e.digest_id
  WHERE d.notification_id = $2 AND d.app_id = $1
)sql"};

constexpr PgStatement kReadDeadLetters = {"explain_dead_letters", R"sql(
  SELECT message_id, queue, state, reason, error, (extract(epoch FROM dead_at) * 1e6)::bigint AS dead_us
  FROM dead_letters WHERE notification_id = $2 AND app_id = $1
  ORDER BY dead_letter_id LIMIT $3
)sql"};

std::vector<TrailEntry> TrailOf(const pqxx::field& field, Channel channel) {
  return field.is_null() ? std::vector<TrailEntry>() : DecodeTrail(Text(field), channel);
}

DeliveryFacts ToFacts(const pqxx::row& row) {
  DeliveryFacts facts;
  facts.trail = TrailOf(row["trail"], ParseChannel(Text(row["channel"])).value_or(Channel::kEmail));
  facts.wait_cause = OwnedText(row["cause"]);
  if (row["digest_id"].is_null()) return facts;
  DigestFacts& digest = facts.digest.emplace();
  digest.id = UuidOf(row["digest_id"]);
  if (!row["due_us"].is_null()) digest.due_time = TimeOf(row["due_us"]);
  return facts;
}

void ReadNotification(const pqxx::row& row, NotificationFacts& facts) {
  facts.came_by_door = row["came_by_door"].as<bool>();
  facts.trail = TrailOf(row["trail"], Channel::kInApp);
  if (!row["seq"].is_null()) facts.seq = row["seq"].as<int64_t>();
  if (!row["actor_count"].is_null()) facts.actor_count = row["actor_count"].as<int64_t>();
  facts.time_zone = OwnedText(row["time_zone"]);
}

}  // namespace

absl::StatusOr<NotificationFacts> PostgresExplainStore::Read(const FeedKey& recipient, const NotificationId& id) {
  const int64_t app = recipient.app.value();
  NotificationFacts facts;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    facts = {};
    ReadNotification(
        session.Execute(transaction, kReadNotification, app, recipient.recipient.value(), id.ToString())[0], facts);
    for (const auto& row : session.Execute(transaction, kReadDeliveries, app, id.ToString())) {
      facts.deliveries[UuidOf(row["delivery_id"])] = ToFacts(row);
    }
    for (const auto& row : session.Execute(transaction, kReadDeadLetters, app, id.ToString(), kMaxDeadLetters)) {
      facts.dead_letters.push_back({.message_id = OwnedText(row["message_id"]),
                                    .queue = OwnedText(row["queue"]),
                                    .state = OwnedText(row["state"]),
                                    .reason = OwnedText(row["reason"]),
                                    .error = OwnedText(row["error"]),
                                    .dead_time = TimeOf(row["dead_us"])});
    }
  }));
  return facts;
}

}  // namespace carillon
