#include "carillon/postgres/upkeep_store.h"

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/feed_removals.h"
#include "carillon/postgres/rows.h"

namespace carillon {
namespace {

constexpr int64_t kCountedOutboxRows = 100'000;

// Slices past their retention. Those with a notification that is unfinished, or
// that the sweep has not read, are kept: nothing accepted is dropped, nor the
// place of its feed item. So are those with a delivery that has not ended; one that
// waits in a digest has no row of its own in schedules. What waits for its send time is
// in no slice.
constexpr PgStatement kExpiredSlice = {"expired_slice", R"sql(
  SELECT parent, slice_name FROM slices
  WHERE ends_at <= to_timestamp($1::bigint / 1e6::float8) - make_interval(days => retention_days)
    AND NOT EXISTS (
      SELECT FROM stragglers s
      WHERE s.retention_days = slices.retention_days AND s.notification_id >= uuid_floor(starts_at)
        AND s.notification_id < uuid_floor(ends_at))
    AND NOT EXISTS (
      SELECT FROM notifications n
      WHERE n.retention_days = slices.retention_days AND n.notification_id >= uuid_floor(starts_at)
        AND n.notification_id < uuid_floor(ends_at)
        AND n.notification_id > (
          SELECT position FROM sweep_positions p WHERE p.retention_days = slices.retention_days AND p.pass = 'late'))
    AND NOT EXISTS (
      SELECT FROM deliveries d
      WHERE d.retention_days = slices.retention_days AND d.notification_id >= uuid_floor(starts_at)
        AND d.notification_id < uuid_floor(ends_at) AND d.state = 'pending')
    AND NOT EXISTS (
      SELECT FROM schedules w
      WHERE w.retention_days = slices.retention_days AND w.notification_id >= uuid_floor(starts_at)
        AND w.notification_id < uuid_floor(ends_at) AND w.cause <> 'send_time')
    AND NOT EXISTS (
      SELECT FROM digest_entries e
      WHERE e.retention_days = slices.retention_days AND e.notification_id >= uuid_floor(starts_at)
        AND e.notification_id < uuid_floor(ends_at))
  ORDER BY ends_at, parent LIMIT 1
)sql"};

// The position moves past every row read; only unfinished ones are remembered.
// SKIP LOCKED: another relay that sweeps this class does it for all.
constexpr PgStatement kSweep = {"sweep", R"sql(
  WITH place AS (
    SELECT position FROM sweep_positions WHERE retention_days = $1 AND pass = $4 FOR UPDATE SKIP LOCKED
  ), slice AS MATERIALIZED (
    SELECT n.notification_id, n.lane, n.finished_at FROM place, LATERAL (
      SELECT notification_id, lane, finished_at FROM notifications n
      WHERE n.retention_days = $1 AND n.notification_id > place.position
        AND n.notification_id < uuid_floor(to_timestamp($2::bigint / 1e6::float8))
      ORDER BY n.notification_id LIMIT $3) AS n
  ), remembered AS (
    INSERT INTO stragglers (notification_id, retention_days, lane, due_at)
    SELECT notification_id, $1, lane, now() FROM slice WHERE finished_at IS NULL ON CONFLICT DO NOTHING
  ), moved AS (
    UPDATE sweep_positions SET position = (SELECT notification_id FROM slice ORDER BY notification_id DESC LIMIT 1)
    WHERE retention_days = $1 AND pass = $4 AND EXISTS (SELECT FROM slice)
  )
  SELECT count(*) FROM slice
)sql"};

// created_at may be by a sandbox's clock, which is ahead; ids are by ours.
constexpr PgStatement kDueStragglers = {"due_stragglers", R"sql(
  WITH due AS MATERIALIZED (
    SELECT notification_id, retention_days FROM stragglers
    WHERE due_at <= now() AND lane = $1 ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
  ), looked AS MATERIALIZED (
    SELECT due.notification_id, n.app_id, n.lane, n.type, n.recipient_id, n.actor_id, n.object_id, n.data, n.channels,
           n.retention_days, coalesce(n.send_at, n.created_at) AS created_at, n.expires_at,
           n.finished_at IS NULL AND n.app_id IS NOT NULL AS open, n.open_deliveries IS NULL AS undecided,
           greatest(least(n.created_at, uuid_time(n.notification_id)), n.released_at,
                    to_timestamp((n.history -> -1 ->> 'time_us')::float8 / 1e6)) AS touched_at,
           EXISTS (SELECT FROM outbox o WHERE o.message_id = due.notification_id AND o.lane = $1) AS in_outbox
    FROM due LEFT JOIN notifications n
      ON n.notification_id = due.notification_id AND n.retention_days = due.retention_days
  ), forgotten AS (
    DELETE FROM stragglers s USING looked WHERE s.notification_id = looked.notification_id AND NOT (looked.open AND looked.undecided)
  ), kept AS (
    UPDATE stragglers s SET due_at = now() + $3::bigint * interval '1 microsecond'
    FROM looked WHERE s.notification_id = looked.notification_id AND looked.open AND looked.undecided
  )
  SELECT *, (extract(epoch FROM created_at) * 1e6)::bigint AS created_us,
         (extract(epoch FROM expires_at) * 1e6)::bigint AS expires_us
  FROM looked WHERE open AND undecided AND NOT in_outbox AND touched_at < to_timestamp($2::bigint / 1e6::float8)
)sql"};

constexpr PgStatement kReenqueue = {"reenqueue", R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[])
      AS rows (message_id, retention_days, app_id, lane, exchange, routing_key, type, payload)
    ORDER BY message_id
  ), noted AS (
    UPDATE notifications n
    SET history = coalesce(history, '[]'::jsonb) || jsonb_build_object(
          'time_us', (extract(epoch FROM clock_timestamp()) * 1e6)::bigint, 'detail', 'no queue held it any more: queued again')
    FROM input WHERE n.notification_id = input.message_id AND n.retention_days = input.retention_days AND n.finished_at IS NULL
      AND n.open_deliveries IS NULL AND NOT EXISTS (SELECT FROM outbox o WHERE o.message_id = input.message_id AND o.lane = input.lane)
    RETURNING n.notification_id
  )
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  SELECT message_id, app_id, lane, exchange, routing_key, type, payload FROM input
  WHERE message_id IN (SELECT notification_id FROM noted)
  ON CONFLICT DO NOTHING
)sql"};

constexpr PgStatement kForgetDigests = {"forget_digests", R"sql(
  DELETE FROM digests WHERE digest_id IN (
    SELECT digest_id FROM digests WHERE closed_at < to_timestamp($1::bigint / 1e6::float8)
    ORDER BY closed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
)sql"};

// What was cancelled before its time: it is in no slice.
constexpr PgStatement kForgetCancelled = {"forget_cancelled", R"sql(
  DELETE FROM notifications_0 WHERE notification_id IN (
    SELECT notification_id FROM notifications_0
    WHERE finished_at <= to_timestamp($1::bigint / 1e6::float8) - interval '7 days'
    ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)
)sql"};

// One retires at a time: a detaching takes several transactions. release_scheduled knows
// this number too.
constexpr int64_t kRetirementLock = 7'205'410'634;

absl::StatusOr<bool> LockRetirement(PgSession& session) {
  bool locked = false;
  RETURN_IF_ERROR(session.Run([&](pqxx::transaction_base& transaction) {
    locked = transaction.exec_params("SELECT pg_try_advisory_lock($1)", kRetirementLock)[0][0].as<bool>();
  }));
  return locked;
}

absl::Status UnlockRetirement(PgSession& session) {
  return session.Run([&](pqxx::transaction_base& transaction) {
    transaction.exec_params("SELECT pg_advisory_unlock($1)", kRetirementLock);
  });
}

// Takes a slice's items away feed by feed, each together with what the feed's
// head says of them, so that readers never see the one without the other.
absl::Status RetireRecipients(PgSession& session, const std::string& slice, int recipients, bool& emptied) {
  return session.RunTransaction([&](pqxx::work& transaction) {
    const pqxx::result feeds = transaction.exec(absl::Substitute(
        "SELECT DISTINCT app_id, recipient_id FROM $0 ORDER BY app_id, recipient_id LIMIT $1", slice, recipients));
    emptied = feeds.empty();
    if (emptied) return absl::OkStatus();
    PgArray apps, names;
    for (const auto& row : feeds) {
      apps.Add(row[0].as<int64_t>());
      names.Add(Text(row[1]));
    }
    transaction.exec_params(
        "SELECT 1 FROM feed_heads JOIN unnest($1::bigint[], $2::text[]) AS feed (app_id, recipient_id) USING (app_id, "
        "recipient_id)"
        " ORDER BY app_id, recipient_id FOR UPDATE OF feed_heads",
        apps.str(), names.str());
    transaction.exec_params(
        absl::Substitute(
            "WITH feed AS (SELECT * FROM unnest($$1::bigint[], $$2::text[]) AS feed (app_id, recipient_id)), gone AS ("
            "  DELETE FROM $0 i USING feed WHERE i.app_id = feed.app_id AND i.recipient_id = feed.recipient_id"
            "  RETURNING i.app_id, i.recipient_id, i.seq, i.read_seq"
            "), loss AS ("
            "  SELECT app_id, recipient_id, max(seq) AS highest,"
            "         count(*) FILTER (WHERE gone.read_seq IS NULL AND gone.seq > h.last_read_seq) AS unread"
            "  FROM gone JOIN feed_heads h USING (app_id, recipient_id) GROUP BY app_id, recipient_id)"
            "UPDATE feed_heads h SET unread = h.unread - loss.unread, floor_seq = greatest(h.floor_seq, loss.highest)"
            " FROM loss WHERE h.app_id = loss.app_id AND h.recipient_id = loss.recipient_id",
            slice),
        apps.str(), names.str());
    return absl::OkStatus();
  });
}

// Detaching concurrently lets readers and writers of the other slices pass. A
// crash in between leaves a step that the next call takes up.
absl::Status DropSlice(PgSession& session, const std::string& parent, const std::string& slice) {
  RETURN_IF_ERROR(session.Run([&](pqxx::transaction_base& transaction) {
    const pqxx::result attached = transaction.exec_params(
        "SELECT p.relname, i.inhdetachpending FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent"
        " WHERE i.inhrelid = to_regclass('carillon.' || $1)",
        slice);
    if (!attached.empty()) {
      const char* how = attached[0][1].as<bool>() ? "FINALIZE" : "CONCURRENTLY";
      transaction.exec(
          absl::Substitute("ALTER TABLE $0 DETACH PARTITION $1 $2", OwnedText(attached[0][0]), slice, how));
    }
  }));
  return session.RunTransaction([&](pqxx::work& transaction) {
    transaction.exec(absl::Substitute("DROP TABLE IF EXISTS $0", slice));
    transaction.exec_params("DELETE FROM slices WHERE parent = $1 AND slice_name = $2", parent, slice);
    return absl::OkStatus();
  });
}

// One step with the slice that expired first. False if there is none.
absl::StatusOr<bool> RetireNext(PgSession& session, absl::Time now, int recipients) {
  std::string parent, slice;
  RETURN_IF_ERROR(session.Run([&](pqxx::transaction_base& transaction) {
    const pqxx::result rows = session.Execute(transaction, kExpiredSlice, absl::ToUnixMicros(now));
    if (rows.empty()) return;
    parent = OwnedText(rows[0]["parent"]);
    slice = OwnedText(rows[0]["slice_name"]);
  }));
  if (slice.empty()) return false;
  bool emptied = true;
  if (parent == "feed_items") RETURN_IF_ERROR(RetireRecipients(session, slice, recipients, emptied));
  if (emptied) RETURN_IF_ERROR(DropSlice(session, parent, slice));
  return true;
}

}  // namespace

absl::StatusOr<int> PostgresUpkeepStore::EnsureSlices(absl::Time from, absl::Time until) {
  int made = 0;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession&, pqxx::work& transaction) {
    made =
        transaction
            .exec_params(
                "SELECT ensure_slices(to_timestamp($1::bigint / 1e6::float8), to_timestamp($2::bigint / 1e6::float8))",
                absl::ToUnixMicros(from), absl::ToUnixMicros(until))[0][0]
            .as<int>();
    return absl::OkStatus();
  }));
  return made;
}

absl::StatusOr<bool> PostgresUpkeepStore::RetireStep(absl::Time now, int recipients) {
  bool worked = false;
  RETURN_IF_ERROR(pool_->With([&](PgSession& session) -> absl::Status {
    ASSIGN_OR_RETURN(const bool alone, LockRetirement(session));
    if (!alone) return absl::OkStatus();
    // Lost with the connection, if that is why it can't be given back.
    const auto unlock = absl::MakeCleanup([&] { UnlockRetirement(session).IgnoreError(); });
    ASSIGN_OR_RETURN(worked, RetireNext(session, now, recipients));
    return absl::OkStatus();
  }));
  return worked;
}

absl::StatusOr<int> PostgresUpkeepStore::ExpireKeys(absl::Time now, int limit) {
  int expired = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    expired = static_cast<int>(transaction
                                   .exec_params("DELETE FROM idempotency_keys WHERE (app_id, idempotency_key) IN ("
                                                " SELECT app_id, idempotency_key FROM idempotency_keys"
                                                " WHERE expires_at <= to_timestamp($1::bigint / 1e6::float8)"
                                                " ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
                                                absl::ToUnixMicros(now), limit)
                                   .affected_rows());
    expired += ExpireRemovals(session, transaction, now, limit);
    expired += static_cast<int>(
        session.Execute(transaction, kForgetCancelled, absl::ToUnixMicros(now), limit).affected_rows());
  }));
  return expired;
}

absl::StatusOr<int> PostgresUpkeepStore::ForgetDigests(absl::Time closed_before, int limit) {
  int forgotten = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    forgotten = static_cast<int>(
        session.Execute(transaction, kForgetDigests, absl::ToUnixMicros(closed_before), limit).affected_rows());
  }));
  return forgotten;
}

absl::StatusOr<int> PostgresUpkeepStore::SweepStep(Pass pass, absl::Time accepted_before, int limit) {
  int read = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    read = 0;
    for (const int retention_days : {1, 7, 30, 365}) {
      read += session
                  .Execute(transaction, kSweep, retention_days, absl::ToUnixMicros(accepted_before), limit,
                           pass == Pass::kEarly ? "early" : "late")[0][0]
                  .as<int>();
    }
  }));
  return read;
}

absl::StatusOr<std::vector<Notification>> PostgresUpkeepStore::DueStragglers(Lane lane, absl::Time idle_since,
                                                                             absl::Duration again, int limit) {
  std::vector<Notification> idle;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    idle.clear();
    for (const auto& row : session.Execute(transaction, kDueStragglers, std::string(ToString(lane)),
                                           absl::ToUnixMicros(idle_since), absl::ToInt64Microseconds(again), limit)) {
      idle.push_back(NotificationOf(row));
    }
  }));
  return idle;
}

absl::StatusOr<int> PostgresUpkeepStore::Reenqueue(absl::Span<const NewNotification> idle) {
  PgArray ids, retentions, apps, lanes, exchanges, keys, types, payloads;
  for (const NewNotification& item : idle) {
    ids.Add(item.notification.id);
    retentions.Add(item.notification.retention_days);
    apps.Add(item.notification.app.value());
    lanes.Add(ToString(item.notification.lane));
    exchanges.Add(item.exchange);
    keys.Add(item.routing_key);
    types.Add(item.notification.type);
    payloads.AddBytes(item.envelope);
  }
  int written = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    written = static_cast<int>(session
                                   .Execute(transaction, kReenqueue, ids.str(), retentions.str(), apps.str(),
                                            lanes.str(), exchanges.str(), keys.str(), types.str(), payloads.str())
                                   .affected_rows());
  }));
  return written;
}

absl::StatusOr<std::vector<OutboxStats>> PostgresUpkeepStore::Outbox() {
  // Counting a long backlog would cost more than it tells: above the bound, what the server's statistics
  // say, which follow within some seconds; after a crash they are gone until ANALYZE comes.
  static constexpr absl::string_view kStats =
      "SELECT (SELECT count(*) FROM (SELECT FROM outbox_$0_ready LIMIT $1) AS counted),"
      " (SELECT coalesce(nullif(pg_stat_get_live_tuples(oid), 0), reltuples::bigint) FROM pg_class"
      "  WHERE oid = 'outbox_$0_ready'::regclass),"
      " (SELECT count(*) FROM (SELECT FROM outbox_$0_deferred LIMIT $1) AS counted),"
      " (SELECT coalesce(nullif(pg_stat_get_live_tuples(oid), 0), reltuples::bigint) FROM pg_class"
      "  WHERE oid = 'outbox_$0_deferred'::regclass),"
      // What was scheduled has the id of its acceptance, and waits since it was due.
      " (extract(epoch FROM clock_timestamp() - (SELECT greatest(uuid_time(message_id), available_at)"
      "  FROM outbox_$0_ready ORDER BY message_id LIMIT 1)) * 1e6)::bigint";
  std::vector<OutboxStats> stats;
  RETURN_IF_ERROR(pool_->Run([&](PgSession&, pqxx::transaction_base& transaction) {
    stats.clear();
    for (const Lane lane : kAllLanes) {
      const pqxx::row row = transaction.exec(absl::Substitute(kStats, ToString(lane), kCountedOutboxRows))[0];
      OutboxStats one{.lane = lane, .rows = row[0].as<int64_t>(), .deferred = row[2].as<int64_t>(), .oldest_age = {}};
      if (one.rows >= kCountedOutboxRows) one.rows = std::max(one.rows, row[1].as<int64_t>());
      if (one.deferred >= kCountedOutboxRows) one.deferred = std::max(one.deferred, row[3].as<int64_t>());
      if (!row[4].is_null()) {
        one.oldest_age = std::max(absl::ZeroDuration(), absl::Microseconds(row[4].as<int64_t>()));
      }
      stats.push_back(one);
    }
  }));
  return stats;
}

}  // namespace carillon
