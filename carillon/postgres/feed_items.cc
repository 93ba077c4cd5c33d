#include "carillon/postgres/feed_items.h"

#include "absl/algorithm/container.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// A second one with its id fails, and takes the number back.
constexpr PgStatement kAddItem = {"add_feed_item", R"sql(
  WITH missing AS (
    SELECT WHERE NOT EXISTS (SELECT FROM feed_items WHERE notification_id = $1 AND retention_days = $4)
  ), head AS (
    INSERT INTO feed_heads AS head (app_id, recipient_id, last_seq, unread, event_position)
    SELECT $2, $3, 1, 1, coalesce((SELECT position FROM event_positions WHERE app_id = $2), 0) FROM missing
    ON CONFLICT (app_id, recipient_id) DO UPDATE SET last_seq = head.last_seq + 1, unread = head.unread + 1
    RETURNING last_seq
  )
  INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, body, actor_id,
                          actor_name, actor_picture_url, image_url, action_link, badge, object_id, data)
  SELECT $1, $2, last_seq, to_timestamp($5::bigint / 1e6::float8), $4, $3, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16::json
  FROM head
  RETURNING seq
)sql"};

constexpr PgStatement kLockFeed = {"lock_feed_for_item", R"sql(
  SELECT FROM feed_heads WHERE app_id = $1 AND recipient_id = $2 FOR UPDATE
)sql"};

int64_t Add(PgSession& session, pqxx::transaction_base& transaction, const FeedKey& key, int retention_days,
            const FeedItem& item) {
  const pqxx::result rows = session.Execute(
      transaction, kAddItem, item.id.ToString(), key.app.value(), key.recipient.value(), retention_days,
      absl::ToUnixMicros(item.create_time), item.type, item.title, OrNull(item.body), OrNull(item.actor_id),
      OrNull(item.actor_name), OrNull(item.actor_picture_url), OrNull(item.image_url), OrNull(item.action_link),
      OrNull(item.badge), OrNull(item.object_id), OrNull(item.data_json));
  return rows.empty() ? 0 : rows[0][0].as<int64_t>();
}

}  // namespace

absl::StatusOr<int64_t> AddFeedItem(PgPool& pool, const FeedKey& key, int retention_days, const FeedItem& item) {
  int64_t seq = 0;
  const absl::Status status = pool.Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    seq = Add(session, transaction, key, retention_days, item);
  });
  if (absl::IsAlreadyExists(status)) return 0;
  RETURN_IF_ERROR(status);
  return seq;
}

// Whoever adds the same item at this moment is waited for, and then seen.
void AddFeedItems(PgSession& session, pqxx::transaction_base& transaction, std::vector<FeedAddition*> additions) {
  absl::c_sort(additions, [](const FeedAddition* a, const FeedAddition* b) { return a->key < b->key; });
  for (FeedAddition* const addition : additions) {
    const FeedKey& key = addition->key;
    session.Execute(transaction, kLockFeed, key.app.value(), key.recipient.value());
    addition->item.seq = Add(session, transaction, key, addition->retention_days, addition->item);
  }
}

}  // namespace carillon
