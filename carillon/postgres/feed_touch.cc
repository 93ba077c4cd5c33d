#include "carillon/postgres/feed_touch.h"

#include <set>
#include <utility>

#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// A statement of its own: the next one then sees everything that was committed
// before the locks were had, so nothing is appended twice and nothing is missed.
constexpr PgStatement kLockBehind = {"lock_behind", R"sql(
  SELECT h.app_id, h.recipient_id FROM feed_heads h
  JOIN unnest($1::bigint[], $2::text[]) AS asked (app_id, recipient_id) USING (app_id, recipient_id)
  WHERE h.event_position < (SELECT position FROM event_positions p WHERE p.app_id = h.app_id)
  ORDER BY h.app_id, h.recipient_id FOR UPDATE OF h
)sql"};

// An event past its retention is not told any more. One that came before a
// membership is not for that member; a feed without a head has nothing coming. Settings
// are those of now.
constexpr PgStatement kAppendShared = {"append_shared", R"sql(
  WITH coming AS MATERIALIZED (
    SELECT h.app_id, h.recipient_id, p.position AS newest, e.*,
           h.last_seq + row_number() OVER (PARTITION BY h.app_id, h.recipient_id ORDER BY e.position) AS seq
    FROM unnest($1::bigint[], $2::text[]) AS asked (app_id, recipient_id)
    JOIN feed_heads h USING (app_id, recipient_id)
    JOIN event_positions p USING (app_id)
    LEFT JOIN LATERAL (
      SELECT e.position, e.created_at, e.retention_days, e.type, e.actor_id, e.object_id, e.data, e.item, e.placeholder
      FROM events e
      WHERE e.app_id = h.app_id AND e.position > h.event_position AND e.position <= p.position
        AND left(h.recipient_id, 1) <> E'\001'
        AND e.created_at > now() - make_interval(days => e.retention_days)
        AND shows_in_feed(e.app_id, h.recipient_id, e.type, e.actor_id, e.object_id)
        AND (e.audience = 'everyone' OR EXISTS (
               SELECT FROM memberships m
               WHERE m.app_id = e.app_id AND m.kind = e.audience AND m.group_id = e.audience_id
                 AND m.member_id = h.recipient_id AND m.since_position < e.position))) AS e ON true
    WHERE h.event_position < p.position
  ), heads AS (
    UPDATE feed_heads h
    SET event_position = feed.newest, last_seq = h.last_seq + feed.added, unread = h.unread + feed.added
    FROM (SELECT app_id, recipient_id, newest, count(position) AS added FROM coming GROUP BY app_id, recipient_id, newest) AS feed
    WHERE h.app_id = feed.app_id AND h.recipient_id = feed.recipient_id
  )
  INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, body, actor_id,
                          actor_name, actor_picture_url, image_url, action_link, badge, object_id, data)
  SELECT new_uuid7(), app_id, seq, created_at, retention_days, recipient_id, type,
         for_recipient(item ->> 'title', placeholder, recipient_id), for_recipient(item ->> 'body', placeholder, recipient_id),
         actor_id, for_recipient(item ->> 'actor_name', placeholder, recipient_id),
         for_recipient(item ->> 'actor_picture_url', placeholder, recipient_id),
         for_recipient(item ->> 'image_url', placeholder, recipient_id),
         for_recipient(item ->> 'action_link', placeholder, recipient_id),
         for_recipient(item ->> 'badge', placeholder, recipient_id), object_id, data
  FROM coming WHERE position IS NOT NULL
)sql"};

}  // namespace

void TouchFeeds(PgSession& session, pqxx::work& transaction, absl::Span<const FeedKey> keys) {
  // A feed that is named twice is appended to once.
  std::set<std::pair<AppId, RecipientId>> asked;
  for (const FeedKey& key : keys) asked.insert({key.app, key.recipient});
  PgArray apps, recipients;
  for (const auto& [app, recipient] : asked) {
    apps.Add(app.value());
    recipients.Add(recipient.value());
  }
  const pqxx::result locked = session.Execute(transaction, kLockBehind, apps.str(), recipients.str());
  if (locked.empty()) return;
  // Only these: one that fell behind since is not ours to append to.
  PgArray locked_apps, locked_recipients;
  for (const auto& row : locked) {
    locked_apps.Add(row[0].as<int64_t>());
    locked_recipients.Add(Text(row[1]));
  }
  session.Execute(transaction, kAppendShared, locked_apps.str(), locked_recipients.str());
}

}  // namespace carillon
