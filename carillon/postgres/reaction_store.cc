#include "carillon/postgres/reaction_store.h"

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// The key 'social.reaction' leads to the queue social: the relay binds it.
constexpr PgStatement kEnqueue = {"enqueue_reactions", R"sql(
  WITH rows AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) AS rows (message_id, app_id, type, payload)
  ), grouped AS (
    INSERT INTO reaction_groups (group_id, app_id, type, payload)
    SELECT message_id, app_id, type, payload FROM rows
  )
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  SELECT message_id, app_id, 'social', 'carillon.direct', 'social.reaction', type, payload FROM rows
)sql"};

constexpr PgStatement kReadCounters = {"read_counters", R"sql(
  SELECT counter.object_id, counter.kind, counter.count
  FROM unnest($2::text[]) WITH ORDINALITY AS asked (object_id, position)
  JOIN reaction_counters counter ON counter.app_id = $1 AND counter.object_id = asked.object_id
  WHERE counter.count > 0
  ORDER BY asked.position, counter.kind
)sql"};

// A group's id is as old as the group: the newer part of the index is not read. One
// that is seen once too often is marked as given up and not queued.
constexpr PgStatement kRequeueIdle = {"requeue_idle_reactions", R"sql(
  WITH idle AS MATERIALIZED (
    SELECT g.group_id FROM reaction_groups g
    WHERE g.group_id < $1::uuid AND g.touched_at < to_timestamp($2::bigint / 1e6::float8) AND g.requeues <= $3
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.message_id = g.group_id AND o.lane = 'social')
    ORDER BY g.group_id LIMIT $4 FOR UPDATE OF g SKIP LOCKED
  ), touched AS (
    UPDATE reaction_groups g SET touched_at = clock_timestamp(), requeues = g.requeues + 1
    FROM idle WHERE g.group_id = idle.group_id
    RETURNING g.group_id, g.app_id, g.type, g.payload, g.requeues > $3 AS given_up
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
    SELECT group_id, app_id, 'social', 'carillon.direct', 'social.reaction', type, payload FROM touched
    WHERE NOT given_up
    ON CONFLICT DO NOTHING
  )
  SELECT group_id, given_up FROM touched
)sql"};

}  // namespace

absl::StatusOr<int64_t> PostgresReactionStore::TakeVersions() {
  static constexpr PgStatement kTake = {"take_versions", "SELECT nextval('reaction_version')"};
  int64_t first = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    first = session.Execute(transaction, kTake)[0][0].as<int64_t>();
  }));
  return first;
}

absl::Status PostgresReactionStore::Enqueue(absl::Span<const ReactionRow> rows) {
  PgArray ids, apps, types, payloads;
  for (const ReactionRow& row : rows) {
    ids.Add(row.message_id);
    apps.Add(row.app.value());
    types.Add(row.type);
    payloads.AddBytes(row.envelope);
  }
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kEnqueue, ids.str(), apps.str(), types.str(), payloads.str());
  });
}

absl::StatusOr<std::vector<ReactionCounter>> PostgresReactionStore::Counters(AppId app,
                                                                             absl::Span<const std::string> object_ids) {
  PgArray objects;
  for (const std::string& id : object_ids) objects.Add(id);
  std::vector<ReactionCounter> counters;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    counters.clear();
    for (const auto& row : session.Execute(transaction, kReadCounters, app.value(), objects.str())) {
      counters.push_back({OwnedText(row["object_id"]), OwnedText(row["kind"]), row["count"].as<int64_t>()});
    }
  }));
  return counters;
}

absl::StatusOr<RequeuedReactions> PostgresReactionStore::RequeueIdle(absl::Time idle_since, int limit) {
  RequeuedReactions requeued;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    requeued = {};
    for (const auto& row : session.Execute(transaction, kRequeueIdle, Uuid7Floor(idle_since).ToString(),
                                           absl::ToUnixMicros(idle_since), kMaxRequeues, limit)) {
      if (row["given_up"].as<bool>()) {
        requeued.given_up.push_back(UuidOf(row["group_id"]));
      } else {
        ++requeued.queued;
      }
    }
  }));
  return requeued;
}

}  // namespace carillon
