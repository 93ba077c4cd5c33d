#include "carillon/postgres/reaction_items.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "carillon/postgres/arrays.h"
#include "carillon/postgres/reaction_windows.h"

namespace carillon {
namespace {

// Always in the order of the keys: nobody waits in a circle. Nobody leaves a new row: what
// leaves it has joined it before. One that counts in a window, though its type does so no
// more, has counted none of those that leave: no window did.
constexpr PgStatement kCountItems = {"count_reaction_items", R"sql(
  INSERT INTO reaction_items AS item (app_id, recipient_id, type, object_id, count, moved)
  SELECT app_id, recipient_id, type, object_id, joined, joined - left_it
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
       WITH ORDINALITY AS rows (app_id, recipient_id, type, object_id, joined, left_it, position)
  ORDER BY position
  ON CONFLICT (app_id, recipient_id, type, object_id) DO UPDATE
  SET count = item.count + CASE WHEN item.window_id IS NULL THEN EXCLUDED.moved ELSE EXCLUDED.count END, moved = EXCLUDED.moved
  RETURNING app_id, recipient_id, type, object_id, count, notification_id, retention_days, window_id
)sql"};

constexpr PgStatement kMakeHeads = {"make_item_heads", R"sql(
  INSERT INTO feed_heads (app_id, recipient_id, event_position)
  SELECT app_id, recipient_id, coalesce((SELECT position FROM event_positions p WHERE p.app_id = asked.app_id), 0)
  FROM unnest($1::bigint[], $2::text[]) AS asked (app_id, recipient_id)
  ORDER BY app_id, recipient_id
  ON CONFLICT DO NOTHING
)sql"};

constexpr PgStatement kLockHeads = {"lock_heads", R"sql(
  SELECT h.app_id, h.recipient_id, h.last_seq, h.last_read_seq FROM feed_heads h
  JOIN unnest($1::bigint[], $2::text[]) AS asked (app_id, recipient_id) USING (app_id, recipient_id)
  ORDER BY h.app_id, h.recipient_id FOR UPDATE OF h
)sql"};

// Behind the heads' locks: what marks, adds and retires items holds them too.
constexpr PgStatement kReadStanding = {"read_standing_items", R"sql(
  SELECT asked.position, f.seq, f.read_seq IS NOT NULL AS marked, (extract(epoch FROM f.created_at) * 1e6)::bigint AS created_us
  FROM unnest($1::uuid[], $2::smallint[]) WITH ORDINALITY AS asked (notification_id, retention_days, position)
  JOIN feed_items f ON f.notification_id = asked.notification_id AND f.retention_days = asked.retention_days
)sql"};

constexpr PgStatement kWriteItems = {"write_reaction_items", R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::smallint[], $5::bigint[], $6::boolean[], $7::boolean[],
                         $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                         $15::text[], $16::text[], $17::text[], $18::text[], $19::json[], $20::bigint[])
      AS rows (notification_id, app_id, recipient_id, retention_days, seq, is_new, is_read, actor_count, type, title, body,
               actor_id, actor_name, actor_picture_url, image_url, action_link, badge, object_id, data, created_us)
  ), changed AS (
    UPDATE feed_items f
    SET seq = input.seq, read_seq = CASE WHEN is_read THEN 0 END, actor_count = input.actor_count, title = input.title,
        body = input.body, actor_id = input.actor_id, actor_name = input.actor_name,
        actor_picture_url = input.actor_picture_url, image_url = input.image_url, action_link = input.action_link,
        badge = input.badge, data = input.data
    FROM input
    WHERE NOT is_new AND f.notification_id = input.notification_id AND f.retention_days = input.retention_days
  ), pointed AS (
    UPDATE reaction_items item
    SET notification_id = input.notification_id, retention_days = input.retention_days
    FROM input
    WHERE is_new AND item.app_id = input.app_id AND item.recipient_id = input.recipient_id AND item.type = input.type
      AND item.object_id = input.object_id
  )
  INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, body, actor_id,
                          actor_name, actor_picture_url, image_url, action_link, badge, object_id, data, actor_count)
  SELECT notification_id, app_id, seq, to_timestamp(created_us / 1e6::float8), retention_days, recipient_id, type, title, body,
         actor_id, actor_name, actor_picture_url, image_url, action_link, badge, object_id, data, actor_count
  FROM input WHERE is_new
)sql"};

constexpr PgStatement kRemoveItems = {"remove_reaction_items", R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::text[], $5::bigint[])
      AS rows (notification_id, retention_days, app_id, recipient_id, seq)
  ), gone AS (
    DELETE FROM feed_items f USING input
    WHERE f.notification_id = input.notification_id AND f.retention_days = input.retention_days
  )
  INSERT INTO feed_removals (app_id, recipient_id, seq, notification_id)
  SELECT app_id, recipient_id, seq, notification_id FROM input
)sql"};

constexpr PgStatement kForgetItems = {"forget_reaction_items", R"sql(
  DELETE FROM reaction_items item
  USING unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS asked (app_id, recipient_id, type, object_id)
  WHERE item.app_id = asked.app_id AND item.recipient_id = asked.recipient_id AND item.type = asked.type
    AND item.object_id = asked.object_id AND count = 0
)sql"};

constexpr PgStatement kMoveHeads = {"move_heads", R"sql(
  UPDATE feed_heads h SET last_seq = moved.last_seq, unread = h.unread + moved.unread
  FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS moved (app_id, recipient_id, last_seq, unread)
  WHERE h.app_id = moved.app_id AND h.recipient_id = moved.recipient_id
)sql"};

// An item that the transaction touches.
struct Item : CountedItem {
  explicit Item(CountedItem counted) : CountedItem(std::move(counted)) {}

  ReactionItem shown;  // Only if it counts any.
  // What feed_items says of it.
  bool stands = false;
  int64_t old_seq = 0;
  bool marked = false;
};

struct Head {
  int64_t last_seq = 0;
  int64_t last_read_seq = 0;
  int64_t unread_change = 0;
};

absl::string_view Flag(bool value) { return value ? "t" : "f"; }

// The parameters of kWriteItems, column by column.
class WriteColumns {
 public:
  void Add(const FeedKey& feed, const FeedItem& item, int retention_days, bool is_new) {
    empty_ = false;
    ids_.Add(item.id);
    apps_.Add(feed.app.value());
    recipients_.Add(feed.recipient.value());
    retentions_.Add(retention_days);
    seqs_.Add(item.seq);
    new_.Add(Flag(is_new));
    read_.Add(Flag(item.read));
    counts_.Add(item.actor_count);
    types_.Add(item.type);
    titles_.Add(item.title);
    bodies_.AddOrNull(item.body);
    actors_.AddOrNull(item.actor_id);
    actor_names_.AddOrNull(item.actor_name);
    actor_pictures_.AddOrNull(item.actor_picture_url);
    images_.AddOrNull(item.image_url);
    links_.AddOrNull(item.action_link);
    badges_.AddOrNull(item.badge);
    objects_.Add(item.object_id);
    data_.AddOrNull(item.data_json);
    created_.Add(item.create_time);
  }

  void Execute(PgSession& session, pqxx::work& transaction) const {
    if (empty_) return;
    session.Execute(transaction, kWriteItems, ids_.str(), apps_.str(), recipients_.str(), retentions_.str(),
                    seqs_.str(), new_.str(), read_.str(), counts_.str(), types_.str(), titles_.str(), bodies_.str(),
                    actors_.str(), actor_names_.str(), actor_pictures_.str(), images_.str(), links_.str(),
                    badges_.str(), objects_.str(), data_.str(), created_.str());
  }

 private:
  bool empty_ = true;
  PgArray ids_, apps_, recipients_, retentions_, seqs_, new_, read_, counts_, types_, titles_, bodies_, actors_,
      actor_names_, actor_pictures_, images_, links_, badges_, objects_, data_, created_;
};

// The steps of one transaction, in the order in which they are called.
class ItemMover {
 public:
  ItemMover(PgSession& session, pqxx::work& transaction) : session_(session), transaction_(transaction) {}

  void Count(const ReactionItemMoves& moves);
  void RenderAll(ReactionStore::Render render);
  void LockHeads();
  void ReadStanding();
  void Decide();
  std::vector<ReactionChange> Write();

 private:
  void DecideOne(const Item& item);
  // Gives the item the feed's next number.
  void Show(const Item& item, Head& head);
  void Remove(const Item& item, Head& head);

  PgSession& session_;
  pqxx::work& transaction_;
  std::vector<Item> items_;
  std::map<FeedKey, Head> heads_;
  std::vector<ReactionChange> changes_;
  WriteColumns shown_;
  PgArray removed_ids_, removed_retentions_, removed_apps_, removed_recipients_, removed_seqs_;
  ItemKeyColumns forgotten_;
  bool any_removed_ = false;
  bool any_forgotten_ = false;
};

std::vector<CountedItem> CountStanding(PgSession& session, pqxx::work& transaction, const ReactionItemMoves& moves) {
  ItemKeyColumns keys;
  PgArray joined, left;
  for (const auto& [key, move] : moves) {
    keys.Add(key);
    joined.Add(move.joined);
    left.Add(move.left);
  }
  std::vector<CountedItem> counted;
  for (const auto& row : session.Execute(transaction, kCountItems, keys.apps.str(), keys.recipients.str(),
                                         keys.types.str(), keys.objects.str(), joined.str(), left.str())) {
    const auto found = moves.find(ItemKeyOf(row));
    CountedItem& item = counted.emplace_back();
    item.key = &found->first;
    item.move = &found->second;
    item.count = row["count"].as<int64_t>();
    item.joined = item.move->joined;
    if (!row["window_id"].is_null()) {
      item.window = UuidOf(row["window_id"]);
      item.changed = item.joined > 0;
    }
    if (row["notification_id"].is_null()) continue;
    item.id = UuidOf(row["notification_id"]);
    item.retention_days = row["retention_days"].as<int>();
  }
  return counted;
}

// One way for all of a transaction's items: they are locked in one order.
void ItemMover::Count(const ReactionItemMoves& moves) {
  const bool windows =
      std::any_of(moves.begin(), moves.end(), [](const auto& move) { return move.second.MayHaveWindows(); });
  std::vector<CountedItem> counted =
      windows ? CountInWindows(session_, transaction_, moves) : CountStanding(session_, transaction_, moves);
  MarkMembers(session_, transaction_, counted);
  for (CountedItem& item : counted) items_.emplace_back(std::move(item));
}

// By a statement of its own: it sees all that was committed before the items were locked.
void ItemMover::RenderAll(ReactionStore::Render render) {
  std::vector<ReactionGroup> groups;
  std::vector<Item*> counting;
  for (Item& item : items_) {
    if (item.count == 0 || !item.changed) continue;
    groups.push_back({.key = item.key, .window = item.window, .count = item.count});
    counting.push_back(&item);
  }
  if (groups.empty()) return;
  std::vector<Reaction> newest = ReadNewest(session_, transaction_, groups);
  for (size_t i = 0; i < newest.size(); ++i) {
    if (newest[i].kind.empty()) continue;
    newest[i].accept_time = counting[i]->move->accept_time;
    counting[i]->shown = render(newest[i]);
  }
}

void ItemMover::LockHeads() {
  PgArray apps, recipients;
  bool any_new = false;
  for (const Item& item : items_) {
    any_new = any_new || !item.id.has_value();
    if (!heads_.try_emplace(item.key->feed).second) continue;
    apps.Add(item.key->feed.app.value());
    recipients.Add(item.key->feed.recipient.value());
  }
  if (any_new) session_.Execute(transaction_, kMakeHeads, apps.str(), recipients.str());
  for (const auto& row : session_.Execute(transaction_, kLockHeads, apps.str(), recipients.str())) {
    heads_[{AppId(row["app_id"].as<int64_t>()), RecipientId(OwnedText(row["recipient_id"]))}] = {
        .last_seq = row["last_seq"].as<int64_t>(), .last_read_seq = row["last_read_seq"].as<int64_t>()};
  }
}

void ItemMover::ReadStanding() {
  PgArray ids, retentions;
  std::vector<Item*> asked;
  for (Item& item : items_) {
    if (!item.id.has_value()) continue;
    ids.Add(*item.id);
    retentions.Add(item.retention_days);
    asked.push_back(&item);
  }
  if (asked.empty()) return;
  for (const auto& row : session_.Execute(transaction_, kReadStanding, ids.str(), retentions.str())) {
    Item& item = *asked[row["position"].as<size_t>() - 1];
    item.stands = true;
    item.old_seq = row["seq"].as<int64_t>();
    item.marked = row["marked"].as<bool>();
    item.shown.item.create_time = TimeOf(row["created_us"]);
  }
}

// In the order of versions, which is nearly that of acceptance.
void ItemMover::Decide() {
  std::sort(items_.begin(), items_.end(),
            [](const Item& a, const Item& b) { return a.move->newest_version < b.move->newest_version; });
  for (const Item& item : items_) DecideOne(item);
}

// Where retention took the row, only somebody who joins makes another. Of those who
// are not to be seen nothing is, until something else changes the item.
void ItemMover::DecideOne(const Item& item) {
  Head& head = heads_.at(item.key->feed);
  const bool joined_seen = item.joined > 0 && item.move->shown;
  if (item.count == 0) {
    forgotten_.Add(*item.key);
    any_forgotten_ = true;
    if (item.stands) Remove(item, head);
  } else if (item.changed && (joined_seen || (item.stands && item.joined == 0))) {
    Show(item, head);
  }
}

void ItemMover::Show(const Item& item, Head& head) {
  const bool was_read = item.stands && (item.marked || item.old_seq <= head.last_read_seq);
  ReactionChange& change = changes_.emplace_back(ReactionChange{.key = item.key->feed, .item = item.shown.item});
  if (item.stands) change.item.id = *item.id;
  change.item.seq = ++head.last_seq;
  change.item.type = item.key->type;
  change.item.object_id = item.key->object_id;
  change.item.actor_count = item.count;
  change.item.read = was_read && item.joined == 0;
  if (!item.stands || (was_read && !change.item.read)) ++head.unread_change;
  shown_.Add(change.key, change.item, item.stands ? item.retention_days : item.shown.retention_days, !item.stands);
}

void ItemMover::Remove(const Item& item, Head& head) {
  ReactionChange& change = changes_.emplace_back(ReactionChange{.key = item.key->feed, .item = {}, .removed = true});
  change.item.id = *item.id;
  change.item.seq = ++head.last_seq;
  if (!item.marked && item.old_seq > head.last_read_seq) --head.unread_change;
  any_removed_ = true;
  removed_ids_.Add(*item.id);
  removed_retentions_.Add(item.retention_days);
  removed_apps_.Add(change.key.app.value());
  removed_recipients_.Add(change.key.recipient.value());
  removed_seqs_.Add(change.item.seq);
}

std::vector<ReactionChange> ItemMover::Write() {
  shown_.Execute(session_, transaction_);
  if (any_removed_) {
    session_.Execute(transaction_, kRemoveItems, removed_ids_.str(), removed_retentions_.str(), removed_apps_.str(),
                     removed_recipients_.str(), removed_seqs_.str());
  }
  if (any_forgotten_) {
    session_.Execute(transaction_, kForgetItems, forgotten_.apps.str(), forgotten_.recipients.str(),
                     forgotten_.types.str(), forgotten_.objects.str());
  }
  if (changes_.empty()) return {};
  PgArray apps, recipients, last_seqs, unread;
  for (const auto& [key, head] : heads_) {
    apps.Add(key.app.value());
    recipients.Add(key.recipient.value());
    last_seqs.Add(head.last_seq);
    unread.Add(head.unread_change);
  }
  session_.Execute(transaction_, kMoveHeads, apps.str(), recipients.str(), last_seqs.str(), unread.str());
  return std::move(changes_);
}

}  // namespace

std::vector<ReactionChange> MoveReactionItems(PgSession& session, pqxx::work& transaction,
                                              const ReactionItemMoves& moves, ReactionStore::Render render) {
  ItemMover mover(session, transaction);
  mover.Count(moves);
  mover.RenderAll(render);
  mover.LockHeads();
  mover.ReadStanding();
  mover.Decide();
  return mover.Write();
}

}  // namespace carillon
