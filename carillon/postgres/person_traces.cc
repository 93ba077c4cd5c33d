// A person's part in what others have: no index leads there.
#include "absl/strings/str_cat.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/person_erase.h"
#include "carillon/postgres/person_walk.h"

namespace carillon {
namespace {

constexpr PlaceType kUuid = PlaceType::kUuid, kNumber = PlaceType::kNumber, kText = PlaceType::kText;

// Parts of statements on a row t. A link that leads to the person is none any more.
constexpr const char* kNamelessLinks =
    "image_url = CASE WHEN t.image_url = without_name(t.image_url, $2) THEN t.image_url END,"
    " action_link = CASE WHEN t.action_link = without_name(t.action_link, $2) THEN t.action_link END";
// The key of a send that names the person is free again: it would keep the name for a day.
constexpr const char* kNamelessKey =
    "idempotency_key = CASE WHEN t.idempotency_key = without_name(t.idempotency_key, $2) THEN t.idempotency_key END";

std::string ForgetKeys(absl::string_view table, absl::string_view join) {
  return absl::StrCat(", forgotten AS (DELETE FROM idempotency_keys k USING found JOIN ", table, " o ON ", join,
                      " WHERE k.app_id = $1 AND k.idempotency_key = o.idempotency_key"
                      " AND o.idempotency_key <> without_name(o.idempotency_key, $2))");
}

std::string NamelessText(absl::string_view column) {
  return absl::StrCat(column, " = without_name(without_name(without_name(t.", column,
                      ", t.actor_name), t.data ->> 'actor_name'), $2)");
}

// A walk, and what is done with the rows that it finds.
struct Trace {
  Walk walk;
  std::string change;   // Of t, joined with found.
  std::string further;  // More parts of WITH.
};

Trace Memberships() {
  return {
      {"memberships", "app_id = $1", "member_id = $2", {{"kind", kText}, {"group_id", kText}, {"member_id", kText}}},
      "DELETE FROM memberships t USING found"
      " WHERE t.app_id = $1 AND t.kind = found.k0 AND t.group_id = found.k1 AND t.member_id = found.k2",
      ""};
}

// An event that is still being told keeps its place, whoever was told last.
Trace Shards() {
  return {
      {"event_shards",
       "true",
       "done AND (cursor = $2 OR last_id = $2) AND EXISTS ("
       "SELECT FROM events e WHERE e.event_id = t.event_id AND e.app_id = $1)",
       {{"event_id", kUuid}, {"shard", kNumber}}},
      "UPDATE event_shards t SET cursor = CASE WHEN cursor = $2 THEN '' ELSE cursor END, last_id = nullif(last_id, $2)"
      " FROM found WHERE t.event_id = found.k0 AND t.shard = found.k1",
      ""};
}

Trace Windows() {
  return {{"dedupe_windows",
           "app_id = $1",
           "window_key <> without_name(window_key, $2)",
           {{"type", kText}, {"window_key", kText}}},
          "DELETE FROM dedupe_windows t USING found"
          " WHERE t.app_id = $1 AND t.type = found.k0 AND t.window_key = found.k1",
          ""};
}

// What the texts of an event's item become where the person is its actor.
constexpr const char* kNamelessItem = R"sql(
  (SELECT jsonb_object_agg(field, CASE WHEN field IN ('title', 'body', 'badge')
            THEN without_name(without_name(without_name(said, t.item ->> 'actor_name'), t.data ->> 'actor_name'), $2)
            ELSE said END)
   FROM jsonb_each_text(t.item - '{actor_name,actor_picture_url}'::text[]) AS fields (field, said)
   WHERE field IN ('title', 'body', 'badge') OR said = without_name(said, $2))
)sql";

Trace Events() {
  return {
      {"events",
       "true",
       "app_id = $1 AND (actor_id = $2 OR (audience = 'followers' AND audience_id = $2) OR $2 = ANY (users))",
       {{"event_id", kUuid}}},
      absl::StrCat("UPDATE events t SET users = array_remove(users, $2),"
                   " audience_id = CASE WHEN audience = 'followers' AND audience_id = $2 THEN '' ELSE audience_id END,"
                   " item = CASE WHEN actor_id = $2 THEN ",
                   kNamelessItem,
                   " ELSE item END, data = CASE WHEN actor_id IS DISTINCT FROM $2 THEN data END,"
                   " object_id = nullif(object_id, $2), actor_id = nullif(actor_id, $2), ",
                   kNamelessKey, " FROM found WHERE t.event_id = found.k0"),
      ForgetKeys("events", "o.event_id = found.k0")};
}

Trace Notifications() {
  return {{"notifications",
           "true",
           "app_id = $1 AND actor_id = $2",
           {{"notification_id", kUuid}, {"retention_days", kNumber}}},
          absl::StrCat("UPDATE notifications t SET actor_id = NULL, data = NULL, object_id = nullif(object_id, $2), ",
                       kNamelessKey, " FROM found WHERE t.notification_id = found.k0 AND t.retention_days = found.k1"),
          ForgetKeys("notifications", "o.notification_id = found.k0 AND o.retention_days = found.k1")};
}

// The object of a standing item is the one that its reactions are counted of.
Trace Items() {
  return {{"feed_items",
           "true",
           "app_id = $1 AND actor_id = $2",
           {{"notification_id", kUuid}, {"retention_days", kNumber}}},
          absl::StrCat("UPDATE feed_items t SET ", NamelessText("title"), ", ", NamelessText("body"), ", ",
                       NamelessText("badge"), ", ", kNamelessLinks,
                       ", actor_id = NULL, actor_name = NULL, actor_picture_url = NULL, data = NULL,"
                       " object_id = CASE WHEN actor_count IS NULL THEN nullif(object_id, $2) ELSE object_id END"
                       " FROM found WHERE t.notification_id = found.k0 AND t.retention_days = found.k1"),
          ""};
}

struct Statement {
  std::string name, sql;
};

Statement StatementOf(const Trace& trace) {
  return {absl::StrCat("erase_traces_", trace.walk.table),
          absl::StrCat("WITH ", WalkSql(trace.walk, "$4", "true"), trace.further, ", changed AS (", trace.change,
                       " RETURNING 1) SELECT (SELECT count(*) FROM changed), last.* FROM last")};
}

// One window of the walk.
template <Trace (*kTrace)()>
StageStep EraseTraces(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place) {
  static const auto* const statement = new Statement(StatementOf(kTrace()));
  PgArray after;
  for (const std::string& part : place) after.Add(part);
  const pqxx::result rows = session.Execute(transaction, {statement->name.c_str(), statement->sql.c_str()},
                                            key.app.value(), key.recipient.value(), after.str(), kEraseRows);
  if (rows.empty()) return {.rows = 0, .next = std::nullopt};
  Place next;
  for (size_t i = 0; i < place.size(); ++i) next.push_back(OwnedText(rows[0][static_cast<int>(i) + 1]));
  return {.rows = rows[0][0].as<int64_t>(), .next = std::move(next)};
}

template <Trace (*kTrace)()>
EraseStage Stage() {
  return {kTrace().walk.place_types(), EraseTraces<kTrace>};
}

}  // namespace

std::vector<EraseStage> TraceStages() {
  return {Stage<Memberships>(), Stage<Events>(),        Stage<Shards>(),
          Stage<Windows>(),     Stage<Notifications>(), Stage<Items>()};
}

}  // namespace carillon
