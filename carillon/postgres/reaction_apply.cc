#include "carillon/postgres/reaction_apply.h"

#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "carillon/postgres/arrays.h"
#include "carillon/postgres/reaction_items.h"
#include "carillon/postgres/reaction_store.h"

namespace carillon {
namespace {

// Reactions in the order of their keys, then counters in theirs: nobody waits in
// a circle. Only what is newer than the stored row changes anything. Their groups
// are ended; who else has one of them waits for its reactions already. With $11 none is
// taken from an item that counts it already. Returns those that an item counts, or did.
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
        type = EXCLUDED.type, was_type = stored.type, data = EXCLUDED.data, window_id = NULL, was_window_id = stored.window_id
    WHERE EXCLUDED.version > stored.version
      AND (NOT $11 OR stored.recipient_id IS NULL OR (stored.recipient_id, stored.type) = (EXCLUDED.recipient_id, EXCLUDED.type))
    RETURNING app_id, object_id, kind, actor_id, active::int - was_active::int AS moved, recipient_id, type,
              was_recipient_id, was_type, was_window_id
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
  SELECT app_id, object_id, kind, actor_id, recipient_id, type, was_recipient_id, was_type, was_window_id FROM changed
  WHERE recipient_id IS NOT NULL OR was_recipient_id IS NOT NULL
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

  pqxx::result Execute(PgSession& session, pqxx::work& transaction, OfOthers of_others) const {
    return session.Execute(transaction, kApply, apps_.str(), versions_.str(), active_.str(), objects_.str(),
                           kinds_.str(), actors_.str(), recipients_.str(), types_.str(), data_.str(), groups_.str(),
                           of_others == OfOthers::kKept);
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

// The item that a row of kApply names in these columns; absent: none.
std::optional<ReactionItemKey> ItemIn(const pqxx::row& row, const char* recipient, const char* type) {
  if (row[recipient].is_null()) return std::nullopt;
  const FeedKey feed{AppId(row["app_id"].as<int64_t>()), RecipientId(OwnedText(row[recipient]))};
  return ReactionItemKey{feed, OwnedText(row[type]), OwnedText(row["object_id"])};
}

void Note(const Reaction& reaction, ReactionItemMove& move) {
  if (move.newest_version >= reaction.version) return;
  move.newest_version = reaction.version;
  move.accept_time = reaction.accept_time;
}

void AddMember(const Reaction& reaction, ReactionItemMove& move) {
  move.members.push_back(&reaction);
  move.shown = move.shown || reaction.shown;
  if (reaction.window != nullptr) move.window = reaction.window;
  Note(reaction, move);
}

// What a reaction that an item counts, or did, does to it. One that was there already and
// is gathered in no window changes nothing.
void AddMoves(const Reaction& reaction, const pqxx::row& row, ReactionItemMoves& moves) {
  const std::optional<ReactionItemKey> now = ItemIn(row, "recipient_id", "type");
  const std::optional<ReactionItemKey> before = ItemIn(row, "was_recipient_id", "was_type");
  std::optional<Uuid> was_window;
  if (!row["was_window_id"].is_null()) was_window = UuidOf(row["was_window_id"]);
  if (now == before) {
    if (reaction.window == nullptr && !was_window.has_value()) return;
    ReactionItemMove& move = moves[*now];
    move.repeated.push_back(was_window);
    return AddMember(reaction, move);
  }
  if (now.has_value()) {
    ReactionItemMove& move = moves[*now];
    ++move.joined;
    AddMember(reaction, move);
  }
  if (!before.has_value()) return;
  ReactionItemMove& move = moves[*before];
  was_window.has_value() ? move.left_windows.push_back(*was_window) : void(++move.left);
  Note(reaction, move);
}

ReactionItemMoves MovesOf(const pqxx::result& rows, const NewestReactions& newest) {
  ReactionItemMoves moves;
  for (const auto& row : rows) {
    AddMoves(
        *newest.at({row["app_id"].as<int64_t>(), Text(row["object_id"]), Text(row["kind"]), Text(row["actor_id"])}),
        row, moves);
  }
  return moves;
}

}  // namespace

std::vector<ReactionChange> ApplyReactions(PgSession& session, pqxx::work& transaction,
                                           absl::Span<const Reaction> reactions, OfOthers of_others,
                                           ReactionStore::Render render) {
  const NewestReactions newest = NewestOf(reactions);
  const ApplyColumns columns(reactions, newest);
  const ReactionItemMoves moves = MovesOf(columns.Execute(session, transaction, of_others), newest);
  if (moves.empty()) return {};
  return MoveReactionItems(session, transaction, moves, render);
}

absl::StatusOr<std::vector<ReactionChange>> PostgresReactionStore::Apply(absl::Span<const Reaction> reactions,
                                                                         Render render) {
  std::vector<ReactionChange> changes;
  const absl::Status status = pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    changes = ApplyReactions(session, transaction, reactions, OfOthers::kTaken, render);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return changes;
}

}  // namespace carillon
