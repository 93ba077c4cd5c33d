// The ends of windows: PostgresReactionStore::ReadWindows and EndWindows.
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_begin.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/feed_items.h"
#include "carillon/postgres/reaction_store.h"
#include "carillon/postgres/reaction_windows.h"

namespace carillon {
namespace {

// Items whose newest window is one of these, with where a feed shows them. Each by its key: the
// planner would rather look for the few that wait among all items.
constexpr PgStatement kReadOpen = {"read_open_windows", R"sql(
  SELECT asked.position, i.app_id, i.recipient_id, i.type, i.object_id, i.count, i.window_id,
         f.notification_id, f.retention_days
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::uuid[])
       WITH ORDINALITY AS asked (app_id, recipient_id, type, object_id, window_id, position)
  CROSS JOIN LATERAL (SELECT * FROM reaction_items i
                      WHERE i.app_id = asked.app_id AND i.recipient_id = asked.recipient_id AND i.type = asked.type
                        AND i.object_id = asked.object_id LIMIT 1) AS i
  LEFT JOIN feed_items f ON f.notification_id = i.notification_id AND f.retention_days = i.retention_days
  WHERE i.window_id = asked.window_id AND i.count > 0 AND i.window_tells
)sql"};

// In the order of the keys; nobody joins from then on.
constexpr PgStatement kLockItems = {"lock_windows", R"sql(
  SELECT i.window_id FROM reaction_items i
  JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::uuid[]) AS asked (app_id, recipient_id, type, object_id, window_id)
    ON i.app_id = asked.app_id AND i.recipient_id = asked.recipient_id AND i.type = asked.type AND i.object_id = asked.object_id
   AND i.window_id = asked.window_id
  ORDER BY i.app_id, i.recipient_id, i.type, i.object_id FOR UPDATE OF i
)sql"};

// Whoever deletes the row carries the end out; nobody else finds one.
constexpr PgStatement kTakeEnds = {"take_window_ends", R"sql(
  DELETE FROM schedules WHERE message_id = ANY ($1::uuid[]) AND cause = 'window' RETURNING message_id
)sql"};

constexpr PgStatement kCloseWindows = {"close_windows", R"sql(
  UPDATE reaction_items i SET window_ends_at = NULL, window_tells = false
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::uuid[]) AS asked (app_id, recipient_id, type, object_id, window_id)
  WHERE i.app_id = asked.app_id AND i.recipient_id = asked.recipient_id AND i.type = asked.type AND i.object_id = asked.object_id
    AND i.window_id = asked.window_id
)sql"};

// Windows, column by column, as all statements take them.
struct WindowColumns {
  explicit WindowColumns(absl::Span<const DueWindow* const> windows) {
    for (const DueWindow* const window : windows) {
      keys.Add({{window->app, window->recipient}, window->type, window->object_id});
      ids.Add(window->id);
    }
  }

  pqxx::result Execute(PgSession& session, pqxx::transaction_base& transaction, const PgStatement& statement) const {
    return session.Execute(transaction, statement, keys.apps.str(), keys.recipients.str(), keys.types.str(),
                           keys.objects.str(), ids.str());
  }

  ItemKeyColumns keys;
  PgArray ids;
};

using Groups = std::vector<std::optional<GatheredWindow>>;

// In order; absent: there is nothing to tell.
Groups ReadGroups(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const DueWindow* const> windows) {
  Groups groups(windows.size());
  std::vector<ReactionItemKey> keys;
  std::vector<ReactionGroup> asked;
  std::vector<size_t> places;
  keys.reserve(windows.size());
  for (const auto& row : WindowColumns(windows).Execute(session, transaction, kReadOpen)) {
    const size_t place = row["position"].as<size_t>() - 1;
    keys.push_back(ItemKeyOf(row));
    asked.push_back({.key = &keys.back(), .window = UuidOf(row["window_id"]), .count = row["count"].as<int64_t>()});
    places.push_back(place);
    GatheredWindow& group = groups[place].emplace();
    group.stands = !row["notification_id"].is_null();
    if (!group.stands) continue;
    group.id = UuidOf(row["notification_id"]);
    group.retention_days = row["retention_days"].as<int>();
  }
  if (asked.empty()) return groups;
  std::vector<Reaction> newest = ReadNewest(session, transaction, asked);
  for (size_t i = 0; i < asked.size(); ++i) {
    newest[i].kind.empty() ? groups[places[i]].reset() : void(groups[places[i]]->newest = std::move(newest[i]));
  }
  return groups;
}

// What is sent has no notification: it is that of the item, or else none that anybody has seen.
void Begin(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const WindowEnd* const> ends,
           absl::Span<const GatheredWindow> groups, absl::Span<const std::vector<NewDelivery>> deliveries) {
  static const std::string sql = absl::StrCat("WITH ", OutgoingSql("outgoing", 1, ""), BeginOutgoingSql(),
                                              kCountAndTell, " SELECT count(*) FROM outgoing");
  static const PgStatement kBegin = {"begin_window_deliveries", sql.c_str()};
  OutgoingColumns columns;
  for (size_t i = 0; i < ends.size(); ++i) {
    const FeedKey key{ends[i]->window->app, ends[i]->window->recipient};
    const DeliveryOrigin origin{.notification_id = groups[i].id,
                                .key = key,
                                .retention_days = groups[i].retention_days,
                                .type = ends[i]->window->type,
                                .lane = ends[i]->lane,
                                .exchange = ends[i]->exchange,
                                .routing_key = ends[i]->routing_key,
                                .traceparent = ""};
    for (const NewDelivery& delivery : deliveries[i]) columns.Add(origin, delivery);
  }
  if (columns.any()) columns.Execute(session, transaction, kBegin);
}

// Those of the windows whose ends nobody has carried out, by their places.
std::vector<size_t> TakeEnds(PgSession& session, pqxx::transaction_base& transaction,
                             absl::Span<const WindowEnd> windows) {
  PgArray ids;
  for (const WindowEnd& end : windows) ids.Add(end.window->id);
  std::set<Uuid> taken;
  for (const auto& row : session.Execute(transaction, kTakeEnds, ids.str())) taken.insert(UuidOf(row[0]));
  std::vector<size_t> places;
  for (size_t i = 0; i < windows.size(); ++i) {
    // One that is named twice is carried out once.
    if (taken.erase(windows[i].window->id) > 0) places.push_back(i);
  }
  return places;
}

int EndAll(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const WindowEnd> windows,
           ReactionStore::BeginDeliveries begin) {
  std::vector<const DueWindow*> all;
  for (const WindowEnd& end : windows) all.push_back(end.window);
  WindowColumns(all).Execute(session, transaction, kLockItems);
  const std::vector<size_t> places = TakeEnds(session, transaction, windows);
  if (places.empty()) return 0;
  std::vector<const DueWindow*> taken;
  for (const size_t place : places) taken.push_back(windows[place].window);
  const Groups read = ReadGroups(session, transaction, taken);
  std::vector<const WindowEnd*> ends;
  std::vector<GatheredWindow> groups;
  std::vector<std::vector<NewDelivery>> deliveries;
  std::vector<FeedAddition*> shown;
  for (size_t i = 0; i < places.size(); ++i) {
    if (!read[i].has_value()) continue;
    const WindowEnd& end = windows[places[i]];
    GatheredWindow& group = groups.emplace_back(*read[i]);
    if (!group.stands) {
      group.id = end.id;
      group.retention_days = end.retention_days;
    }
    ends.push_back(&end);
    deliveries.push_back(begin(places[i], group));
    if (end.shown != nullptr) shown.push_back(end.shown);
  }
  Begin(session, transaction, ends, groups, deliveries);
  AddFeedItems(session, transaction, shown);
  WindowColumns(taken).Execute(session, transaction, kCloseWindows);
  return static_cast<int>(ends.size());
}

}  // namespace

absl::StatusOr<Groups> PostgresReactionStore::ReadWindows(absl::Span<const DueWindow> windows) {
  std::vector<const DueWindow*> all;
  for (const DueWindow& window : windows) all.push_back(&window);
  Groups groups;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    groups = ReadGroups(session, transaction, all);
  }));
  return groups;
}

absl::StatusOr<int> PostgresReactionStore::EndWindows(absl::Span<const WindowEnd> windows, BeginDeliveries begin) {
  int ended = 0;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    for (const WindowEnd& end : windows) {
      if (end.shown != nullptr) end.shown->item.seq = 0;
    }
    ended = EndAll(session, transaction, windows, begin);
    return absl::OkStatus();
  }));
  return ended;
}

}  // namespace carillon
