// Taking a person's reactions back, as if they had retracted them.
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/person_erase.h"
#include "carillon/postgres/person_walk.h"
#include "carillon/postgres/reaction_items.h"

namespace carillon {
namespace {

// Reactions in one transaction: each may touch another head.
constexpr int kReactionRows = 200;

const Walk& TheWalk() {
  static const auto* const walk =
      new Walk{"reactions",
               "app_id = $1",
               "actor_id = $2 OR was_recipient_id = $2",
               {{"object_id", PlaceType::kText}, {"kind", PlaceType::kText}, {"actor_id", PlaceType::kText}}};
  return *walk;
}

// Found in the order of keys, in which all lock them. Those of others only have been
// told to the person once.
constexpr const char* kTakeBackParts = R"sql(
  , gone AS (
    DELETE FROM reactions r USING found
    WHERE r.app_id = $1 AND r.object_id = found.k0 AND r.kind = found.k1 AND r.actor_id = found.k2 AND r.actor_id = $2
    RETURNING r.object_id, r.kind, r.active, r.recipient_id, r.type, r.version, r.window_id, r.data ->> 'actor_name' AS name
  ), detached AS (
    UPDATE reactions r SET was_recipient_id = NULL, was_type = NULL, was_window_id = NULL FROM found
    WHERE r.app_id = $1 AND r.object_id = found.k0 AND r.kind = found.k1 AND r.actor_id = found.k2 AND r.actor_id <> $2
  )
  SELECT last.k0, last.k1, last.k2, gone.* FROM last LEFT JOIN gone ON true
)sql";

constexpr PgStatement kCountDown = {"count_reactions_down", R"sql(
  WITH moved AS MATERIALIZED (
    SELECT c.object_id, c.kind, asked.moved
    FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS asked (object_id, kind, moved, position)
    JOIN reaction_counters c ON c.app_id = $1 AND c.object_id = asked.object_id AND c.kind = asked.kind
    ORDER BY asked.position FOR UPDATE OF c
  )
  UPDATE reaction_counters c SET count = greatest(c.count - moved.moved, 0), moved = -moved.moved
  FROM moved WHERE c.app_id = $1 AND c.object_id = moved.object_id AND c.kind = moved.kind
)sql"};

// As it stands, and without the person where it names them: only the worker could
// render it anew, from the newest reaction that is left.
constexpr PgStatement kReadItem = {"read_nameless_item", R"sql(
  SELECT f.retention_days, f.actor_id = $5 AS theirs, f.title, f.body, f.actor_id, f.actor_name, f.actor_picture_url,
         f.image_url, f.action_link, f.badge, f.data,
         without_name(without_name(without_name(f.title, f.actor_name), f.data ->> 'actor_name'), $5) AS nameless_title,
         without_name(without_name(without_name(f.body, f.actor_name), f.data ->> 'actor_name'), $5) AS nameless_body
  FROM reaction_items i
  JOIN feed_items f ON f.notification_id = i.notification_id AND f.retention_days = i.retention_days
  WHERE i.app_id = $1 AND i.recipient_id = $2 AND i.type = $3 AND i.object_id = $4
)sql"};

// Items of groups, this window's or an earlier one's, name some of those whom they count,
// whoever their actor is.
constexpr PgStatement kForgetName = {"forget_name_in_groups", R"sql(
  UPDATE feed_items f
  SET title = without_name(without_name(f.title, asked.name), $2), body = without_name(without_name(f.body, asked.name), $2),
      data = NULL
  FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS asked (recipient_id, type, object_id, name)
  WHERE f.app_id = $1 AND f.recipient_id = asked.recipient_id AND f.type = asked.type AND f.object_id = asked.object_id
    AND f.actor_count IS NOT NULL AND position(left(asked.name, 100) IN f.data ->> 'names') > 0
)sql"};

using Counts = std::map<std::pair<std::string, std::string>, int64_t>;

void CountDown(PgSession& session, pqxx::work& transaction, AppId app, const Counts& counts) {
  if (counts.empty()) return;
  PgArray objects, kinds, moved;
  for (const auto& [key, count] : counts) {
    objects.Add(key.first);
    kinds.Add(key.second);
    moved.Add(count);
  }
  session.Execute(transaction, kCountDown, app.value(), objects.str(), kinds.str(), moved.str());
}

ReactionItem ReadItem(PgSession& session, pqxx::work& transaction, const Reaction& newest, const FeedKey& person) {
  ReactionItem shown;
  const pqxx::result rows = session.Execute(transaction, kReadItem, newest.app.value(), newest.recipient, newest.type,
                                            newest.object_id, person.recipient.value());
  if (rows.empty()) return shown;
  const auto row = rows[0];
  const bool theirs = !row["theirs"].is_null() && row["theirs"].as<bool>();
  shown.retention_days = row["retention_days"].as<int>();
  shown.item.title = OwnedText(row[theirs ? "nameless_title" : "title"]);
  shown.item.body = OwnedText(row[theirs ? "nameless_body" : "body"]);
  shown.item.image_url = OwnedText(row["image_url"]);
  shown.item.action_link = OwnedText(row["action_link"]);
  shown.item.badge = OwnedText(row["badge"]);
  if (theirs) return shown;
  shown.item.actor_id = OwnedText(row["actor_id"]);
  shown.item.actor_name = OwnedText(row["actor_name"]);
  shown.item.actor_picture_url = OwnedText(row["actor_picture_url"]);
  shown.item.data_json = OwnedText(row["data"]);
  return shown;
}

// What those that are gone had counted for.
struct Taken {
  int64_t rows = 0;
  Counts counts;
  ReactionItemMoves moves;

  void Add(AppId app, const pqxx::row& row) {
    ++rows;
    if (row["active"].as<bool>()) ++counts[{OwnedText(row["object_id"]), OwnedText(row["kind"])}];
    if (row["recipient_id"].is_null()) return;
    ReactionItemMove& move = moves[{
        {app, RecipientId(OwnedText(row["recipient_id"]))}, OwnedText(row["type"]), OwnedText(row["object_id"])}];
    row["window_id"].is_null() ? void(++move.left) : move.left_windows.push_back(UuidOf(row["window_id"]));
    move.newest_version = std::max(move.newest_version, row["version"].as<int64_t>());
  }
};

// Of the groups that windows counted: others make an item of one name only.
void ForgetName(PgSession& session, pqxx::work& transaction, const FeedKey& person, const pqxx::result& rows) {
  PgArray recipients, types, objects, names;
  bool any = false;
  for (const auto& row : rows) {
    if (row["window_id"].is_null() || row["recipient_id"].is_null() || Text(row["name"]).empty()) continue;
    any = true;
    recipients.Add(Text(row["recipient_id"]));
    types.Add(Text(row["type"]));
    objects.Add(Text(row["object_id"]));
    names.Add(Text(row["name"]));
  }
  if (!any) return;
  session.Execute(transaction, kForgetName, person.app.value(), person.recipient.value(), recipients.str(), types.str(),
                  objects.str(), names.str());
}

StageStep TakeBackReactions(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place) {
  static const auto* const sql =
      new std::string(absl::StrCat("WITH ", WalkSql(TheWalk(), "$4", "true"), kTakeBackParts));
  PgArray after;
  for (const std::string& part : place) after.Add(part);
  const pqxx::result rows = session.Execute(transaction, {"take_back_reactions", sql->c_str()}, key.app.value(),
                                            key.recipient.value(), after.str(), kReactionRows);
  if (rows.empty()) return {.rows = 0, .next = std::nullopt};
  Taken taken;
  for (const auto& row : rows) {
    if (!row["active"].is_null()) taken.Add(key.app, row);
  }
  CountDown(session, transaction, key.app, taken.counts);
  if (!taken.moves.empty()) {
    MoveReactionItems(session, transaction, taken.moves,
                      [&](const Reaction& newest) { return ReadItem(session, transaction, newest, key); });
    // Behind the heads' locks, as all write items.
    ForgetName(session, transaction, key, rows);
  }
  return {.rows = taken.rows, .next = Place{OwnedText(rows[0][0]), OwnedText(rows[0][1]), OwnedText(rows[0][2])}};
}

}  // namespace

EraseStage ReactionStage() { return {TheWalk().place_types(), TakeBackReactions}; }

}  // namespace carillon
