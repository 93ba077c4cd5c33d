#include "carillon/postgres/feed_store.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/feed_removals.h"
#include "carillon/postgres/feed_touch.h"

namespace carillon {
namespace {

constexpr const char* kItemColumns = R"sql(
  f.notification_id, f.seq, f.type, f.title, f.body, f.actor_id, f.actor_name, f.actor_picture_url, f.image_url, f.action_link,
  f.badge, f.object_id, f.data, (extract(epoch FROM f.created_at) * 1e6)::bigint AS created_us,
  (f.read_seq IS NOT NULL OR f.seq <= h.last_read_seq) AS read, f.actor_count
)sql";

// What ToHead reads; h is the head and p the event position of its app, if it has one.
constexpr const char* kHeadColumns = R"sql(
  h.last_seq, h.floor_seq, h.unread, h.last_read_seq, h.marker_seq,
  h.event_position < coalesce(p.position, 0) AS behind
)sql";

// One more than a marker names, so that the first of them is always whole.
constexpr size_t kMarkedPage = limits::kMaxMarkReadIds + 1;

constexpr PgStatement kReadMarked = {"read_marked", R"sql(
  SELECT asked.position, f.notification_id, f.read_seq
  FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])
       WITH ORDINALITY AS asked (app_id, recipient_id, after_seq, up_to_seq, position),
  LATERAL (SELECT notification_id, read_seq FROM feed_items f
           WHERE f.app_id = asked.app_id AND f.recipient_id = asked.recipient_id
             AND f.read_seq > asked.after_seq AND f.read_seq <= asked.up_to_seq
           ORDER BY f.read_seq LIMIT $5) AS f
  ORDER BY asked.position, f.read_seq
)sql"};

constexpr PgStatement kLockHead = {"lock_head", R"sql(
  SELECT last_seq, floor_seq, unread, last_read_seq, marker_seq, false AS behind FROM feed_heads
  WHERE app_id = $1 AND recipient_id = $2 FOR UPDATE
)sql"};

constexpr PgStatement kCountUnreadAbove = {"count_unread_above", R"sql(
  SELECT count(*) FROM feed_items WHERE app_id = $1 AND recipient_id = $2 AND seq > $3 AND read_seq IS NULL
)sql"};

// $6 and $7 bound the ids, which prunes the slices that hold none.
constexpr PgStatement kMarkItems = {"mark_items", R"sql(
  UPDATE feed_items SET read_seq = $4
  WHERE notification_id = ANY ($3::uuid[]) AND notification_id BETWEEN $6::uuid AND $7::uuid
    AND app_id = $1 AND recipient_id = $2 AND seq > $5 AND read_seq IS NULL
  RETURNING notification_id
)sql"};

constexpr PgStatement kUpdateHead = {"update_head", R"sql(
  UPDATE feed_heads SET last_seq = $3, marker_seq = $3, unread = $4, last_read_seq = $5
  WHERE app_id = $1 AND recipient_id = $2
)sql"};

FeedItem ToItem(const pqxx::row& row) {
  FeedItem item;
  item.id = UuidOf(row["notification_id"]);
  item.seq = row["seq"].as<int64_t>();
  item.type = OwnedText(row["type"]);
  item.title = OwnedText(row["title"]);
  item.body = OwnedText(row["body"]);
  item.actor_id = OwnedText(row["actor_id"]);
  item.actor_name = OwnedText(row["actor_name"]);
  item.actor_picture_url = OwnedText(row["actor_picture_url"]);
  item.image_url = OwnedText(row["image_url"]);
  item.action_link = OwnedText(row["action_link"]);
  item.badge = OwnedText(row["badge"]);
  item.object_id = OwnedText(row["object_id"]);
  item.data_json = OwnedText(row["data"]);
  item.create_time = TimeOf(row["created_us"]);
  item.read = row["read"].as<bool>();
  item.actor_count = row["actor_count"].as<int64_t>(0);
  return item;
}

FeedHead ToHead(const pqxx::row& row) {
  return {.last_seq = row["last_seq"].as<int64_t>(),
          .floor_seq = row["floor_seq"].as<int64_t>(),
          .unread = row["unread"].as<int64_t>(),
          .last_read_seq = row["last_read_seq"].as<int64_t>(),
          .marker_seq = row["marker_seq"].as<int64_t>(),
          .behind = row["behind"].as<bool>()};
}

// Items and heads of one snapshot: one row per item, or one without an item.
void ReadItems(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const BacklogRequest> requests,
               std::vector<Backlog>& backlogs) {
  static const std::string sql = absl::StrCat(
      "SELECT asked.position, ", kHeadColumns,
      ", f.*"
      " FROM unnest($1::bigint[], $2::text[], $3::bigint[]) WITH ORDINALITY AS asked (app_id, recipient_id, after_seq, "
      "position)"
      " JOIN feed_heads h USING (app_id, recipient_id) LEFT JOIN event_positions p ON p.app_id = h.app_id"
      " LEFT JOIN LATERAL (SELECT ",
      kItemColumns,
      " FROM feed_items f WHERE f.app_id = asked.app_id"
      "   AND f.recipient_id = asked.recipient_id AND f.seq > asked.after_seq ORDER BY f.seq LIMIT $4) AS f ON true"
      " ORDER BY asked.position, f.seq");
  static const PgStatement kReadItems = {"read_items", sql.c_str()};
  PgArray apps, recipients, after;
  for (const BacklogRequest& request : requests) {
    apps.Add(request.key.app.value());
    recipients.Add(request.key.recipient.value());
    after.Add(request.after_seq);
  }
  for (const auto& row :
       session.Execute(transaction, kReadItems, apps.str(), recipients.str(), after.str(), limits::kBacklogPage)) {
    Backlog& backlog = backlogs[row["position"].as<size_t>() - 1];
    backlog.head = ToHead(row);
    if (!row["notification_id"].is_null()) backlog.items.push_back(ToItem(row));
  }
  for (Backlog& backlog : backlogs) {
    const bool full = backlog.items.size() == static_cast<size_t>(limits::kBacklogPage);
    backlog.complete_up_to = full ? backlog.items.back().seq : backlog.head.last_seq;
  }
}

// An item that a marker named.
struct Mark {
  int64_t marker_seq = 0;
  NotificationId id;
};

// Adds the newest marker within what was read, with the items that it and those
// before it named. If there are more than one read may take, the backlog ends
// before the first marker that was not read whole.
void AddMarker(std::vector<Mark> marks, Backlog& backlog) {
  if (marks.size() == kMarkedPage) {
    const int64_t cut = marks.back().marker_seq;
    std::erase_if(marks, [cut](const Mark& mark) { return mark.marker_seq == cut; });
    backlog.complete_up_to = cut - 1;
    std::erase_if(backlog.items, [cut](const FeedItem& item) { return item.seq > cut; });
  }
  const bool newest = backlog.head.marker_seq <= backlog.complete_up_to;
  if (!newest && marks.empty()) return;
  backlog.marker = ReadMarker{.seq = newest ? backlog.head.marker_seq : marks.back().marker_seq,
                              .up_to_seq = backlog.head.last_read_seq,
                              .ids = {},
                              .unread = backlog.head.unread};
  for (const Mark& mark : marks) backlog.marker->ids.push_back(mark.id);
}

void ReadMarkers(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const BacklogRequest> requests,
                 std::vector<Backlog>& backlogs) {
  PgArray apps, recipients, after, up_to;
  std::vector<size_t> marked;
  for (size_t i = 0; i < requests.size(); ++i) {
    const FeedHead& head = backlogs[i].head;
    if (head.marker_seq <= requests[i].after_seq) continue;
    apps.Add(requests[i].key.app.value());
    recipients.Add(requests[i].key.recipient.value());
    after.Add(requests[i].after_seq);
    up_to.Add(std::min(head.marker_seq, backlogs[i].complete_up_to));
    marked.push_back(i);
  }
  if (marked.empty()) return;
  std::vector<std::vector<Mark>> marks(marked.size());
  for (const auto& row :
       session.Execute(transaction, kReadMarked, apps.str(), recipients.str(), after.str(), up_to.str(), kMarkedPage)) {
    marks[row["position"].as<size_t>() - 1].push_back({row["read_seq"].as<int64_t>(), UuidOf(row["notification_id"])});
  }
  for (size_t i = 0; i < marked.size(); ++i) AddMarker(std::move(marks[i]), backlogs[marked[i]]);
}

// Sets the head to what `head` says, with a new number for the marker.
void WriteMarker(PgSession& session, pqxx::work& transaction, const FeedKey& key, FeedHead& head) {
  head.marker_seq = ++head.last_seq;
  session.Execute(transaction, kUpdateHead, key.app.value(), key.recipient.value(), head.last_seq, head.unread,
                  head.last_read_seq);
}

}  // namespace

// Nearly always nothing is behind, and one read says so and has the answer.
absl::StatusOr<std::vector<Backlog>> PostgresFeedStore::ReadBacklogs(absl::Span<const BacklogRequest> requests) {
  std::vector<Backlog> backlogs;
  const auto read = [&](PgSession& session, pqxx::transaction_base& transaction) {
    backlogs.assign(requests.size(), {});
    ReadItems(session, transaction, requests, backlogs);
    ReadRemovals(session, transaction, requests, backlogs);
    ReadMarkers(session, transaction, requests, backlogs);
  };
  RETURN_IF_ERROR(pool_->Run(read));
  std::vector<FeedKey> behind;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (backlogs[i].head.behind) behind.push_back(requests[i].key);
  }
  if (behind.empty()) return backlogs;
  RETURN_IF_ERROR(Touch(behind));
  RETURN_IF_ERROR(pool_->Run(read));
  return backlogs;
}

absl::Status PostgresFeedStore::Touch(absl::Span<const FeedKey> keys) {
  return pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    TouchFeeds(session, transaction, keys);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<FeedHead>> PostgresFeedStore::ReadHeads(absl::Span<const FeedKey> keys) {
  static const std::string sql = absl::StrCat(
      "SELECT asked.position, ", kHeadColumns,
      " FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (app_id, recipient_id, position)"
      " JOIN feed_heads h USING (app_id, recipient_id) LEFT JOIN event_positions p ON p.app_id = h.app_id");
  static const PgStatement kReadHeads = {"read_heads", sql.c_str()};
  PgArray apps, recipients;
  for (const FeedKey& key : keys) {
    apps.Add(key.app.value());
    recipients.Add(key.recipient.value());
  }
  std::vector<FeedHead> heads(keys.size());
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    for (const auto& row : session.Execute(transaction, kReadHeads, apps.str(), recipients.str())) {
      heads[row["position"].as<size_t>() - 1] = ToHead(row);
    }
  }));
  return heads;
}

absl::StatusOr<FeedHead> PostgresFeedStore::Summarize(const FeedKey& key) {
  ASSIGN_OR_RETURN(std::vector<FeedHead> heads, ReadHeads({key}));
  if (heads.front().behind) {
    RETURN_IF_ERROR(Touch({key}));
    ASSIGN_OR_RETURN(heads, ReadHeads({key}));
  }
  return heads.front();
}

// Nearly always nothing is behind, and one read says so and has the answer.
absl::StatusOr<std::vector<FeedItem>> PostgresFeedStore::List(const ListQuery& query) {
  bool behind = false;
  ASSIGN_OR_RETURN(std::vector<FeedItem> items, ReadPage(query, behind));
  // A page from the newest shows what is still coming; one behind a token goes on where it was.
  if (!behind || query.before_seq.has_value()) return items;
  RETURN_IF_ERROR(Touch({query.key}));
  return ReadPage(query, behind);
}

absl::StatusOr<std::vector<FeedItem>> PostgresFeedStore::ReadPage(const ListQuery& query, bool& behind) {
  // One row per item, or one without an item: the head says something either way.
  static const std::string base = absl::StrCat(
      "SELECT ", kHeadColumns,
      ", f.* FROM feed_heads h LEFT JOIN event_positions p ON p.app_id = h.app_id LEFT JOIN LATERAL (SELECT ",
      kItemColumns, " FROM feed_items f WHERE f.app_id = h.app_id AND f.recipient_id = h.recipient_id AND f.seq < $3");
  static const std::string order =
      " ORDER BY f.seq DESC LIMIT $4) AS f ON true WHERE h.app_id = $1 AND h.recipient_id = $2";
  static const std::string all_sql = base + order;
  static const std::string unread_sql = base + " AND f.seq > h.last_read_seq AND f.read_seq IS NULL" + order;
  static const PgStatement kListFeed = {"list_feed", all_sql.c_str()};
  static const PgStatement kListUnread = {"list_unread", unread_sql.c_str()};

  std::vector<FeedItem> items;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    items.clear();
    const int64_t before = query.before_seq.value_or(std::numeric_limits<int64_t>::max());
    for (const auto& row : session.Execute(transaction, query.unread_only ? kListUnread : kListFeed,
                                           query.key.app.value(), query.key.recipient.value(), before, query.limit)) {
      behind = row["behind"].as<bool>();
      if (!row["notification_id"].is_null()) items.push_back(ToItem(row));
    }
  }));
  // One feed's rows come as the index gives them, but no statement says so.
  std::sort(items.begin(), items.end(), [](const FeedItem& a, const FeedItem& b) { return a.seq > b.seq; });
  return items;
}

absl::StatusOr<MarkReadResult> PostgresFeedStore::MarkReadUpTo(const FeedKey& key, int64_t up_to_seq) {
  MarkReadResult result;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    result = {};
    const pqxx::result locked = session.Execute(transaction, kLockHead, key.app.value(), key.recipient.value());
    if (locked.empty()) return absl::OkStatus();
    result.head = ToHead(locked[0]);
    const int64_t target = std::min(up_to_seq, result.head.last_seq);
    if (target <= result.head.last_read_seq) return absl::OkStatus();
    // Counted behind the lock, by a statement of its own: it sees all that was numbered before.
    result.head.unread =
        session.Execute(transaction, kCountUnreadAbove, key.app.value(), key.recipient.value(), target)[0][0]
            .as<int64_t>();
    result.head.last_read_seq = target;
    WriteMarker(session, transaction, key, result.head);
    result.marker =
        ReadMarker{.seq = result.head.marker_seq, .up_to_seq = target, .ids = {}, .unread = result.head.unread};
    return absl::OkStatus();
  }));
  return result;
}

absl::StatusOr<MarkReadResult> PostgresFeedStore::MarkReadItems(const FeedKey& key,
                                                                absl::Span<const NotificationId> ids) {
  if (ids.empty()) {
    ASSIGN_OR_RETURN(const std::vector<FeedHead> heads, ReadHeads({key}));
    return MarkReadResult{.head = heads.front(), .marker = {}};
  }
  PgArray wanted;
  for (const NotificationId& id : ids) wanted.Add(id);
  const auto bounds = std::minmax_element(ids.begin(), ids.end());
  MarkReadResult result;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    result = {};
    const pqxx::result locked = session.Execute(transaction, kLockHead, key.app.value(), key.recipient.value());
    if (locked.empty()) return absl::OkStatus();
    result.head = ToHead(locked[0]);
    const pqxx::result marked = session.Execute(transaction, kMarkItems, key.app.value(), key.recipient.value(),
                                                wanted.str(), result.head.last_seq + 1, result.head.last_read_seq,
                                                bounds.first->ToString(), bounds.second->ToString());
    if (marked.empty()) return absl::OkStatus();
    result.head.unread -= static_cast<int64_t>(marked.size());
    WriteMarker(session, transaction, key, result.head);
    result.marker = ReadMarker{
        .seq = result.head.marker_seq, .up_to_seq = result.head.last_read_seq, .ids = {}, .unread = result.head.unread};
    for (const auto& row : marked) result.marker->ids.push_back(UuidOf(row[0]));
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace carillon
