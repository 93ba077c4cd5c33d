// What is kept about a person and found by index.
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/person_erase.h"

namespace carillon {
namespace {

constexpr PgStatement kEraseContacts = {"erase_contacts", R"sql(
  WITH person AS (
    SELECT email, phone FROM recipients WHERE app_id = $1 AND recipient_id = $2
  ), addresses AS (
    SELECT 'email' AS channel, lower(email) AS address FROM person WHERE email IS NOT NULL
    UNION ALL SELECT 'sms', phone FROM person WHERE phone IS NOT NULL
  ), suppressed AS (
    UPDATE suppressions s
    SET address = NULL,
        reason = CASE WHEN position(addresses.address IN lower(s.reason)) > 0 THEN 'erased' ELSE s.reason END
    FROM addresses
    WHERE s.app_id = $1 AND s.channel = addresses.channel
      AND s.address_hash = sha256(convert_to(addresses.address, 'UTF8')) AND s.address IS NOT NULL
    RETURNING 1
  ), device AS (
    DELETE FROM devices WHERE app_id = $1 AND recipient_id = $2 RETURNING 1
  ), recipient AS (
    DELETE FROM recipients WHERE app_id = $1 AND recipient_id = $2 RETURNING 1
  ), remembered AS (
    INSERT INTO tombstones (app_id, recipient_hash) VALUES ($1, sha256(convert_to($2, 'UTF8')))
    ON CONFLICT (app_id, recipient_hash) DO UPDATE SET erased_at = now()
  )
  SELECT (SELECT count(*) FROM suppressed) + (SELECT count(*) FROM device) + (SELECT count(*) FROM recipient)
)sql"};

// Deletes up to $3 rows of the person; returns how many. What the relay holds at this
// moment is published already.
constexpr PgStatement kEraseDeliveries = {"erase_deliveries", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT notification_id, delivery_id, retention_days FROM deliveries
    WHERE app_id = $1 AND recipient_id = $2 ORDER BY notification_id, delivery_id LIMIT $3 FOR UPDATE
  ), queued AS MATERIALIZED (
    SELECT o.message_id, o.lane, o.deferred FROM doomed JOIN outbox o ON o.message_id = doomed.delivery_id
    FOR UPDATE OF o SKIP LOCKED
  ), unqueued AS (
    DELETE FROM outbox o USING queued q WHERE o.message_id = q.message_id AND o.lane = q.lane AND o.deferred = q.deferred
  )
  DELETE FROM deliveries d USING doomed
  WHERE d.notification_id = doomed.notification_id AND d.delivery_id = doomed.delivery_id
    AND d.retention_days = doomed.retention_days
)sql"};

// In the order of ids, as those who deliver them lock them.
constexpr PgStatement kEraseNotifications = {"erase_notifications", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT notification_id, retention_days, idempotency_key FROM notifications
    WHERE app_id = $1 AND recipient_id = $2 ORDER BY notification_id LIMIT $3 FOR UPDATE
  ), queued AS MATERIALIZED (
    SELECT o.message_id, o.lane, o.deferred FROM doomed JOIN outbox o ON o.message_id = doomed.notification_id
    FOR UPDATE OF o SKIP LOCKED
  ), unqueued AS (
    DELETE FROM outbox o USING queued q WHERE o.message_id = q.message_id AND o.lane = q.lane AND o.deferred = q.deferred
  ), forgotten AS (
    DELETE FROM idempotency_keys k USING doomed
    WHERE k.app_id = $1 AND k.idempotency_key = doomed.idempotency_key AND k.notification_id = doomed.notification_id
  ), left_alone AS (
    DELETE FROM stragglers s USING doomed WHERE s.notification_id = doomed.notification_id
  )
  DELETE FROM notifications n USING doomed
  WHERE n.notification_id = doomed.notification_id AND n.retention_days = doomed.retention_days
)sql"};

constexpr PgStatement kEraseSchedules = {"erase_schedules", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT schedule_id, message_id FROM schedules WHERE app_id = $1 AND recipient_id = $2 LIMIT $3 FOR UPDATE
  ), queued AS MATERIALIZED (
    SELECT o.message_id, o.lane, o.deferred FROM doomed JOIN outbox o ON o.message_id = doomed.message_id
    FOR UPDATE OF o SKIP LOCKED
  ), unqueued AS (
    DELETE FROM outbox o USING queued q WHERE o.message_id = q.message_id AND o.lane = q.lane AND o.deferred = q.deferred
  )
  DELETE FROM schedules s USING doomed WHERE s.schedule_id = doomed.schedule_id
)sql"};

constexpr PgStatement kEraseInteractions = {"erase_interactions", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT notification_id, channel, kind FROM interactions WHERE app_id = $1 AND recipient_id = $2 LIMIT $3
  )
  DELETE FROM interactions i USING doomed
  WHERE i.app_id = $1 AND i.notification_id = doomed.notification_id AND i.channel = doomed.channel AND i.kind = doomed.kind
)sql"};

constexpr PgStatement kEraseRemovals = {"erase_removals", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT seq FROM feed_removals WHERE app_id = $1 AND recipient_id = $2 ORDER BY seq LIMIT $3
  )
  DELETE FROM feed_removals r USING doomed WHERE r.app_id = $1 AND r.recipient_id = $2 AND r.seq = doomed.seq
)sql"};

// Others' reactions stay and are counted; they tell nobody any more. In the order
// in which those who apply reactions lock them.
constexpr PgStatement kDetachReactions = {"detach_reactions", R"sql(
  WITH told AS MATERIALIZED (
    SELECT object_id, kind, actor_id FROM (
      SELECT object_id, kind, actor_id FROM reactions WHERE app_id = $1 AND recipient_id = $2 LIMIT $3) AS picked
    ORDER BY object_id, kind, actor_id
  )
  UPDATE reactions r
  SET recipient_id = NULL, type = NULL, was_recipient_id = NULL, was_type = NULL, data = NULL, window_id = NULL, was_window_id = NULL
  FROM told
  WHERE r.app_id = $1 AND r.object_id = told.object_id AND r.kind = told.kind AND r.actor_id = told.actor_id
)sql"};

constexpr PgStatement kEraseReactionItems = {"erase_reaction_items", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT type, object_id FROM reaction_items WHERE app_id = $1 AND recipient_id = $2 ORDER BY type, object_id LIMIT $3
  )
  DELETE FROM reaction_items i USING doomed
  WHERE i.app_id = $1 AND i.recipient_id = $2 AND i.type = doomed.type AND i.object_id = doomed.object_id
)sql"};

constexpr PgStatement kEraseFollowers = {"erase_followers", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT member_id FROM memberships
    WHERE app_id = $1 AND kind = 'followers' AND group_id = $2 ORDER BY member_id LIMIT $3 FOR UPDATE
  )
  DELETE FROM memberships m USING doomed
  WHERE m.app_id = $1 AND m.kind = 'followers' AND m.group_id = $2 AND m.member_id = doomed.member_id
)sql"};

constexpr PgStatement kLockHead = {"lock_doomed_head", R"sql(
  SELECT FROM feed_heads WHERE app_id = $1 AND recipient_id = $2 FOR UPDATE
)sql"};

constexpr PgStatement kEraseItems = {"erase_items", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT notification_id, retention_days FROM feed_items WHERE app_id = $1 AND recipient_id = $2 ORDER BY seq LIMIT $3
  )
  DELETE FROM feed_items f USING doomed
  WHERE f.notification_id = doomed.notification_id AND f.retention_days = doomed.retention_days
)sql"};

constexpr PgStatement kEraseHead = {"erase_head", "DELETE FROM feed_heads WHERE app_id = $1 AND recipient_id = $2"};

template <const PgStatement& kStatement>
StageStep EraseSome(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place&) {
  const int64_t rows =
      session.Execute(transaction, kStatement, key.app.value(), key.recipient.value(), kEraseRows).affected_rows();
  return {.rows = rows, .next = rows < kEraseRows ? std::nullopt : std::make_optional(Place())};
}

// Behind the head's lock, as everybody who changes items.
StageStep EraseSomeItems(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place) {
  session.Execute(transaction, kLockHead, key.app.value(), key.recipient.value());
  return EraseSome<kEraseItems>(session, transaction, key, place);
}

}  // namespace

StageStep EraseContacts(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place&) {
  const pqxx::result rows = session.Execute(transaction, kEraseContacts, key.app.value(), key.recipient.value());
  return {.rows = rows[0][0].as<int64_t>(), .next = std::nullopt};
}

// Without a notification nobody makes deliveries and items of it, without a delivery
// nobody lets one wait: what comes in between leaves nothing behind. Schedules are first as
// well: what is being released moves where the next stage would not see it.
std::vector<EraseStage> OwnRowStages() {
  return {{{}, EraseSome<kEraseSchedules>},  {{}, EraseSome<kEraseNotifications>}, {{}, EraseSome<kEraseDeliveries>},
          {{}, EraseSome<kEraseSchedules>},  {{}, EraseSome<kEraseInteractions>},  {{}, EraseSome<kEraseFollowers>},
          {{}, EraseSome<kDetachReactions>}, {{}, EraseSome<kEraseReactionItems>}, {{}, EraseSomeItems},
          {{}, EraseSome<kEraseRemovals>}};
}

StageStep EraseHead(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place) {
  const StageStep items = EraseSomeItems(session, transaction, key, place);
  const StageStep removals = EraseSome<kEraseRemovals>(session, transaction, key, place);
  const StageStep standing = EraseSome<kEraseReactionItems>(session, transaction, key, place);
  StageStep step{.rows = items.rows + removals.rows + standing.rows, .next = std::nullopt};
  if (items.next.has_value() || removals.next.has_value() || standing.next.has_value()) {
    step.next = place;
    return step;
  }
  step.rows += session.Execute(transaction, kEraseHead, key.app.value(), key.recipient.value()).affected_rows();
  return step;
}

}  // namespace carillon
