#include "carillon/postgres/reaction_store.h"

#include <map>
#include <set>
#include <tuple>

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/reaction_items.h"

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

// Reactions in the order of their keys, then counters in theirs: nobody waits in
// a circle. Only what is newer than the stored row changes anything. Their groups
// are ended; who else has one of them waits for its reactions already. Returns those
// that move a standing item: it has come to count them, or does so no more.
constexpr PgStatement kApply = {"apply_reactions", R"sql(
  WITH changed AS (
    INSERT INTO reactions AS stored (app_id, version, active, object_id, kind, actor_id, recipient_id, type, data)
    SELECT app_id, version, active, object_id, kind, actor_id, recipient_id, type, data
    FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::json[])
         WITH ORDINALITY AS rows (app_id, version, active, object_id, kind, actor_id, recipient_id, type, data, position)
    ORDER BY position
    ON CONFLICT (app_id, object_id, kind, actor_id) DO UPDATE
    SET version = EXCLUDED.version, active = EXCLUDED.active, was_active = stored.active,
        recipient_id = EXCLUDED.recipient_id, was_recipient_id = stored.recipient_id,
        type = EXCLUDED.type, was_type = stored.type, data = EXCLUDED.data
    WHERE EXCLUDED.version > stored.version
    RETURNING app_id, object_id, kind, actor_id, active::int - was_active::int AS moved, recipient_id, type,
              was_recipient_id, was_type
  ), counted AS (
    INSERT INTO reaction_counters AS counter (app_id, object_id, kind, count, moved)
    SELECT app_id, object_id, kind, greatest(sum(moved), 0), sum(moved) FROM changed
    GROUP BY app_id, object_id, kind HAVING sum(moved) <> 0
    ORDER BY app_id, object_id, kind
    ON CONFLICT (app_id, object_id, kind) DO UPDATE
    SET count = counter.count + EXCLUDED.moved, moved = EXCLUDED.moved
  ), applied AS (
    DELETE FROM reaction_groups WHERE group_id = ANY ($10::uuid[])
  )
  SELECT app_id, object_id, kind, actor_id, recipient_id, type, was_recipient_id, was_type FROM changed
  WHERE (recipient_id, type) IS DISTINCT FROM (was_recipient_id, was_type)
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

// Of whom, what and how: one reaction of each counts. In the order of the stored keys.
using ReactionKey = std::tuple<int64_t, absl::string_view, absl::string_view, absl::string_view>;
using NewestReactions = std::map<ReactionKey, const Reaction*>;

NewestReactions NewestOf(absl::Span<const Reaction> reactions) {
  NewestReactions newest;
  for (const Reaction& reaction : reactions) {
    const Reaction*& place = newest[{reaction.app.value(), reaction.object_id, reaction.kind, reaction.actor_id}];
    if (place == nullptr || place->version < reaction.version) place = &reaction;
  }
  return newest;
}

// The parameters of kApply, column by column.
class ApplyColumns {
 public:
  ApplyColumns(absl::Span<const Reaction> reactions, const NewestReactions& newest) {
    for (const auto& [key, reaction] : newest) Add(*reaction);
    std::set<Uuid> groups;
    for (const Reaction& reaction : reactions) {
      if (reaction.group.has_value()) groups.insert(*reaction.group);
    }
    for (const Uuid& group : groups) groups_.Add(group);
  }

  pqxx::result Execute(PgSession& session, pqxx::work& transaction) const {
    return session.Execute(transaction, kApply, apps_.str(), versions_.str(), active_.str(), objects_.str(),
                           kinds_.str(), actors_.str(), recipients_.str(), types_.str(), data_.str(), groups_.str());
  }

 private:
  void Add(const Reaction& reaction) {
    apps_.Add(reaction.app.value());
    versions_.Add(reaction.version);
    active_.Add(absl::string_view(reaction.active ? "t" : "f"));
    objects_.Add(reaction.object_id);
    kinds_.Add(reaction.kind);
    actors_.Add(reaction.actor_id);
    const bool in_item = reaction.active && !reaction.recipient.empty();
    in_item ? recipients_.Add(reaction.recipient) : recipients_.AddNull();
    in_item ? types_.Add(reaction.type) : types_.AddNull();
    in_item ? data_.AddOrNull(reaction.data_json) : data_.AddNull();
  }

  PgArray apps_, versions_, active_, objects_, kinds_, actors_, recipients_, types_, data_, groups_;
};

// The item that a row of kApply names in these columns; null: none.
ReactionItemMove* MoveOf(const pqxx::row& row, const char* recipient, const char* type, ReactionItemMoves& moves) {
  if (row[recipient].is_null()) return nullptr;
  const FeedKey feed{AppId(row["app_id"].as<int64_t>()), RecipientId(OwnedText(row[recipient]))};
  return &moves[{feed, OwnedText(row[type]), OwnedText(row["object_id"])}];
}

ReactionItemMoves MovesOf(const pqxx::result& rows, const NewestReactions& newest) {
  ReactionItemMoves moves;
  for (const auto& row : rows) {
    const Reaction& reaction =
        *newest.at({row["app_id"].as<int64_t>(), Text(row["object_id"]), Text(row["kind"]), Text(row["actor_id"])});
    ReactionItemMove* const joined = MoveOf(row, "recipient_id", "type", moves);
    ReactionItemMove* const left = MoveOf(row, "was_recipient_id", "was_type", moves);
    if (joined != nullptr) ++joined->joined;
    if (left != nullptr) ++left->left;
    for (ReactionItemMove* const move : {joined, left}) {
      if (move == nullptr || move->newest_version >= reaction.version) continue;
      move->newest_version = reaction.version;
      move->accept_time = reaction.accept_time;
    }
  }
  return moves;
}

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

absl::StatusOr<std::vector<ReactionChange>> PostgresReactionStore::Apply(absl::Span<const Reaction> reactions,
                                                                         Render render) {
  const NewestReactions newest = NewestOf(reactions);
  const ApplyColumns columns(reactions, newest);
  std::vector<ReactionChange> changes;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    changes.clear();
    const pqxx::result rows = columns.Execute(session, transaction);
    if (rows.empty()) return absl::OkStatus();
    changes = MoveReactionItems(session, transaction, MovesOf(rows, newest), render);
    return absl::OkStatus();
  }));
  return changes;
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
