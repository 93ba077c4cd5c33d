#include "carillon/postgres/reaction_windows.h"

#include <algorithm>

#include "carillon/wire/envelope.h"
#include "carillon/wire/group_data.h"

namespace carillon {
namespace {

// In the order of the keys, as all lock them. What is new counts nothing yet.
constexpr PgStatement kHoldItems = {"hold_reaction_items", R"sql(
  INSERT INTO reaction_items AS item (app_id, recipient_id, type, object_id, count, moved)
  SELECT app_id, recipient_id, type, object_id, 0, 0
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
       WITH ORDINALITY AS rows (app_id, recipient_id, type, object_id, position)
  ORDER BY position
  ON CONFLICT (app_id, recipient_id, type, object_id) DO UPDATE SET moved = 0
  RETURNING app_id, recipient_id, type, object_id, count, notification_id, retention_days, window_id, window_tells,
            (extract(epoch FROM window_ends_at) * 1e6)::bigint AS ends_us,
            (extract(epoch FROM window_latest_at) * 1e6)::bigint AS latest_us
)sql"};

// A window that begins has an item of its own; the one before stays in the feed as it is.
constexpr PgStatement kSetItems = {"set_reaction_items", R"sql(
  UPDATE reaction_items item
  SET count = asked.count, window_id = asked.window_id, window_ends_at = to_timestamp(ends_us / 1e6::float8),
      window_latest_at = to_timestamp(latest_us / 1e6::float8), window_tells = asked.tells,
      notification_id = CASE WHEN NOT begins THEN item.notification_id END,
      retention_days = CASE WHEN NOT begins THEN item.retention_days END
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::bigint[], $8::bigint[], $9::boolean[],
              $10::boolean[])
       AS asked (app_id, recipient_id, type, object_id, count, window_id, ends_us, latest_us, tells, begins)
  WHERE item.app_id = asked.app_id AND item.recipient_id = asked.recipient_id AND item.type = asked.type
    AND item.object_id = asked.object_id
)sql"};

constexpr PgStatement kMarkMembers = {"mark_window_members", R"sql(
  UPDATE reactions r SET window_id = asked.window_id
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::uuid[]) AS asked (app_id, object_id, kind, actor_id, window_id)
  WHERE r.app_id = asked.app_id AND r.object_id = asked.object_id AND r.kind = asked.kind AND r.actor_id = asked.actor_id
)sql"};

constexpr PgStatement kAwaitEnds = {"await_window_ends", R"sql(
  INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                         exchange, routing_key, type, payload)
  SELECT app_id, to_timestamp(due_us / 1e6::float8), window_id, window_id, retention_days, lane, 'window', '', recipient_id,
         exchange, routing_key, type, payload
  FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::bytea[])
       AS asked (app_id, due_us, window_id, retention_days, lane, recipient_id, exchange, routing_key, type, payload)
)sql"};

constexpr PgStatement kPutEndsOff = {"put_window_ends_off", R"sql(
  UPDATE schedules s SET due_at = to_timestamp(due_us / 1e6::float8), payload = asked.payload
  FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS asked (window_id, due_us, payload)
  WHERE s.message_id = asked.window_id AND s.cause = 'window'
)sql"};

constexpr PgStatement kForgetEnds = {"forget_window_ends",
                                     "DELETE FROM schedules WHERE message_id = ANY ($1::uuid[]) AND cause = 'window'"};

// As many as there are: the older reactions, which other windows counted, are not looked through.
constexpr PgStatement kReadNewest = {"read_newest_of_groups", R"sql(
  SELECT asked.position, newest.kind, newest.actor_id, newest.version, newest.data, newest.name
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::bigint[])
       WITH ORDINALITY AS asked (app_id, recipient_id, type, object_id, window_id, wanted, position),
  LATERAL (SELECT kind, actor_id, version, data, left(data ->> 'actor_name', 100) AS name FROM reactions r
           WHERE r.app_id = asked.app_id AND r.recipient_id = asked.recipient_id AND r.type = asked.type
             AND r.object_id = asked.object_id AND r.window_id IS NOT DISTINCT FROM asked.window_id
           ORDER BY r.version DESC LIMIT asked.wanted) AS newest
  ORDER BY asked.position, newest.version DESC
)sql"};

// An item, and its window as it is kept.
struct Held {
  CountedItem item;
  std::optional<absl::Time> ends;  // Absent: its end has been told of, or it never began.
  std::optional<absl::Time> latest;
  bool tells = false;
  bool begins = false;
  bool put_off = false;
};

// What waits for its end is carried out late rather than early: until then it is open.
bool IsOver(const Held& held, absl::Time now) {
  return !held.item.window.has_value() || !held.ends.has_value() || (!held.tells && *held.ends <= now);
}

void Begin(const ReactionWindow& window, Held& held) {
  const Aggregation& aggregation = window.aggregation;
  held.item.window = NewUuid7(window.now - window.clock_offset);
  held.latest = window.now + (aggregation.sliding ? aggregation.max_window : aggregation.window);
  held.ends = std::min(window.now + aggregation.window, *held.latest);
  held.tells = window.tells;
  held.begins = true;
  held.item.id.reset();
}

void PutOff(const ReactionWindow& window, Held& held) {
  if (!window.aggregation.sliding || !held.ends.has_value() || *held.ends <= window.now) return;
  const absl::Time ends = std::min(window.now + window.aggregation.window, held.latest.value_or(*held.ends));
  if (ends <= *held.ends) return;
  held.ends = ends;
  held.put_off = held.tells;
}

// Those whom an earlier window counted are counted once more, where they are told of anew;
// where they leave, only what counts them changes.
void CountOne(Held& held) {
  CountedItem& item = held.item;
  const ReactionItemMove& move = *item.move;
  const bool anybody = !move.members.empty();
  if (anybody && move.window != nullptr && IsOver(held, move.window->now)) {
    Begin(*move.window, held);
    item.count = item.joined = static_cast<int64_t>(move.members.size());
    return;
  }
  const auto& repeated = move.repeated;
  const auto here = std::count(repeated.begin(), repeated.end(), item.window);
  item.joined = move.joined + static_cast<int64_t>(repeated.size()) - here;
  const int64_t left = item.window.has_value()
                           ? std::count(move.left_windows.begin(), move.left_windows.end(), *item.window)
                           : move.left;
  item.count += item.joined - left;
  item.changed = item.joined + left > 0;
  if (item.joined > 0 && move.window != nullptr) PutOff(*move.window, held);
}

std::vector<Held> Hold(PgSession& session, pqxx::work& transaction, const ReactionItemMoves& moves) {
  ItemKeyColumns keys;
  for (const auto& [key, move] : moves) keys.Add(key);
  std::vector<Held> all;
  for (const auto& row : session.Execute(transaction, kHoldItems, keys.apps.str(), keys.recipients.str(),
                                         keys.types.str(), keys.objects.str())) {
    const auto found = moves.find(ItemKeyOf(row));
    Held& held = all.emplace_back();
    held.item.key = &found->first;
    held.item.move = &found->second;
    held.item.count = row["count"].as<int64_t>();
    held.tells = row["window_tells"].as<bool>();
    if (!row["window_id"].is_null()) held.item.window = UuidOf(row["window_id"]);
    if (!row["ends_us"].is_null()) held.ends = TimeOf(row["ends_us"]);
    if (!row["latest_us"].is_null()) held.latest = TimeOf(row["latest_us"]);
    if (row["notification_id"].is_null()) continue;
    held.item.id = UuidOf(row["notification_id"]);
    held.item.retention_days = row["retention_days"].as<int>();
  }
  return all;
}

void Set(PgSession& session, pqxx::work& transaction, absl::Span<const Held> all) {
  ItemKeyColumns keys;
  PgArray counts, windows, ends, latest, tells, begins;
  const auto add_time = [](const std::optional<absl::Time>& time, PgArray& to) {
    time.has_value() ? to.Add(*time) : to.AddNull();
  };
  for (const Held& held : all) {
    keys.Add(*held.item.key);
    counts.Add(held.item.count);
    held.item.window.has_value() ? windows.Add(*held.item.window) : windows.AddNull();
    add_time(held.ends, ends);
    add_time(held.latest, latest);
    tells.Add(absl::string_view(held.tells ? "t" : "f"));
    begins.Add(absl::string_view(held.begins ? "t" : "f"));
  }
  session.Execute(transaction, kSetItems, keys.apps.str(), keys.recipients.str(), keys.types.str(), keys.objects.str(),
                  counts.str(), windows.str(), ends.str(), latest.str(), tells.str(), begins.str());
}

std::string EndOf(const Held& held) {
  const ReactionItemKey& key = *held.item.key;
  return EncodeEnvelope(DueWindow{.app = key.feed.app,
                                  .type = key.type,
                                  .id = *held.item.window,
                                  .recipient = key.feed.recipient,
                                  .object_id = key.object_id,
                                  .due_time = *held.ends});
}

void AwaitEnds(PgSession& session, pqxx::work& transaction, absl::Span<const Held> all) {
  PgArray apps, due, windows, retentions, lanes, recipients, exchanges, routing_keys, types, payloads;
  bool any = false;
  for (const Held& held : all) {
    if (!held.begins || !held.tells) continue;
    any = true;
    const ReactionWindow& window = *held.item.move->window;
    apps.Add(held.item.key->feed.app.value());
    due.Add(*held.ends - window.clock_offset);
    windows.Add(*held.item.window);
    retentions.Add(window.retention_days);
    lanes.Add(ToString(window.lane));
    recipients.Add(held.item.key->feed.recipient.value());
    exchanges.Add(window.exchange);
    routing_keys.Add(window.routing_key);
    types.Add(held.item.key->type);
    payloads.AddBytes(EndOf(held));
  }
  if (!any) return;
  session.Execute(transaction, kAwaitEnds, apps.str(), due.str(), windows.str(), retentions.str(), lanes.str(),
                  recipients.str(), exchanges.str(), routing_keys.str(), types.str(), payloads.str());
}

void PutEndsOff(PgSession& session, pqxx::work& transaction, absl::Span<const Held> all) {
  PgArray windows, due, payloads;
  bool any = false;
  for (const Held& held : all) {
    if (!held.put_off) continue;
    any = true;
    windows.Add(*held.item.window);
    due.Add(*held.ends - held.item.move->window->clock_offset);
    payloads.AddBytes(EndOf(held));
  }
  if (any) session.Execute(transaction, kPutEndsOff, windows.str(), due.str(), payloads.str());
}

void ForgetEnds(PgSession& session, pqxx::work& transaction, absl::Span<const Held> all) {
  PgArray windows;
  bool any = false;
  for (const Held& held : all) {
    if (held.item.count > 0 || !held.tells) continue;
    any = true;
    windows.Add(*held.item.window);
  }
  if (any) session.Execute(transaction, kForgetEnds, windows.str());
}

}  // namespace

ReactionItemKey ItemKeyOf(const pqxx::row& row) {
  return {{AppId(row["app_id"].as<int64_t>()), RecipientId(OwnedText(row["recipient_id"]))},
          OwnedText(row["type"]),
          OwnedText(row["object_id"])};
}

std::vector<CountedItem> CountInWindows(PgSession& session, pqxx::work& transaction, const ReactionItemMoves& moves) {
  std::vector<Held> all = Hold(session, transaction, moves);
  for (Held& held : all) CountOne(held);
  Set(session, transaction, all);
  AwaitEnds(session, transaction, all);
  PutEndsOff(session, transaction, all);
  ForgetEnds(session, transaction, all);
  std::vector<CountedItem> counted;
  for (Held& held : all) counted.push_back(std::move(held.item));
  return counted;
}

void MarkMembers(PgSession& session, pqxx::work& transaction, absl::Span<const CountedItem> items) {
  PgArray apps, objects, kinds, actors, windows;
  bool any = false;
  for (const CountedItem& item : items) {
    if (!item.window.has_value()) continue;
    for (const Reaction* const member : item.move->members) {
      any = true;
      apps.Add(member->app.value());
      objects.Add(member->object_id);
      kinds.Add(member->kind);
      actors.Add(member->actor_id);
      windows.Add(*item.window);
    }
  }
  if (any) {
    session.Execute(transaction, kMarkMembers, apps.str(), objects.str(), kinds.str(), actors.str(), windows.str());
  }
}

std::vector<Reaction> ReadNewest(PgSession& session, pqxx::transaction_base& transaction,
                                 absl::Span<const ReactionGroup> groups) {
  ItemKeyColumns keys;
  PgArray windows, wanted;
  for (const ReactionGroup& group : groups) {
    keys.Add(*group.key);
    group.window.has_value() ? windows.Add(*group.window) : windows.AddNull();
    wanted.Add(group.window.has_value() ? std::min<int64_t>(group.count, GroupData::kNames) : 1);
  }
  std::vector<Reaction> all(groups.size());
  std::vector<GroupData> data(groups.size());
  for (const auto& row : session.Execute(transaction, kReadNewest, keys.apps.str(), keys.recipients.str(),
                                         keys.types.str(), keys.objects.str(), windows.str(), wanted.str())) {
    const size_t place = row["position"].as<size_t>() - 1;
    if (!Text(row["name"]).empty()) data[place].names.push_back(OwnedText(row["name"]));
    if (!all[place].kind.empty()) continue;
    const ReactionItemKey& key = *groups[place].key;
    all[place] = {.app = key.feed.app,
                  .actor_id = OwnedText(row["actor_id"]),
                  .object_id = key.object_id,
                  .kind = OwnedText(row["kind"]),
                  .active = true,
                  .version = row["version"].as<int64_t>(),
                  .recipient = key.feed.recipient.value(),
                  .type = key.type,
                  .data_json = OwnedText(row["data"])};
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!groups[i].window.has_value()) continue;
    data[i].count = groups[i].count;
    all[i].data_json = WithGroup(all[i].data_json, data[i]);
  }
  return all;
}

}  // namespace carillon
