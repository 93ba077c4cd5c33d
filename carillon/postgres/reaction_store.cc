#include "carillon/postgres/reaction_store.h"

#include <map>
#include <tuple>

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/reaction_items.h"

namespace carillon {
namespace {

// The key 'social.reaction' leads to the queue social: the relay binds it.
constexpr PgStatement kEnqueue = {"enqueue_reactions", R"sql(
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  SELECT message_id, app_id, 'social', 'carillon.direct', 'social.reaction', type, payload
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) AS rows (message_id, app_id, type, payload)
)sql"};

// Reactions in the order of their keys, then counters in theirs: nobody waits in
// a circle. Only what is newer than the stored row changes anything. Returns those
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

  pqxx::result Execute(PgSession& session, pqxx::work& transaction) const {
    return session.Execute(transaction, kApply, apps_.str(), versions_.str(), active_.str(), objects_.str(),
                           kinds_.str(), actors_.str(), recipients_.str(), types_.str(), data_.str());
  }

 private:
  PgArray apps_, versions_, active_, objects_, kinds_, actors_, recipients_, types_, data_;
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
  ApplyColumns columns;
  for (const auto& [key, reaction] : newest) columns.Add(*reaction);
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

}  // namespace carillon
