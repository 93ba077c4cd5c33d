// The part of PostgresEventStore that the fan-out works with.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_begin.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/event_rows.h"
#include "carillon/postgres/event_store.h"
#include "carillon/postgres/feed_items.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

// Members above $4 of the audience ($1 app, $2 kind, $3 its id), in the order of id.
constexpr absl::string_view kGroupMembers =
    "SELECT member_id AS id FROM memberships"
    " WHERE app_id = $1 AND kind = $2 AND group_id = $3 AND member_id > $4";
constexpr absl::string_view kListedUsers =
    "SELECT listed COLLATE \"C\" AS id FROM events, unnest(users) AS listed"
    " WHERE app_id = $1 AND $2::text IS NOT NULL AND event_id = $3::uuid AND listed COLLATE \"C\" > $4";
// Public feeds of topics are nobody's.
constexpr absl::string_view kEveryone =
    "SELECT recipient_id AS id FROM feed_heads"
    " WHERE app_id = $1 AND $2::text IS NOT NULL AND $3::text IS NOT NULL AND recipient_id > $4"
    " AND left(recipient_id, 1) <> E'\\001'";

// Every $5th member above $4, at most $6: from one to the next, by index.
std::string SampleSql(absl::string_view members) {
  const std::string next = absl::StrReplaceAll(members, {{"$4", "picked.id"}});
  constexpr absl::string_view kStep = " ORDER BY 1 LIMIT 1 OFFSET $5::bigint - 1) AS m";
  return absl::StrCat("WITH RECURSIVE picked (id, count) AS ((SELECT m.id, 1 FROM (", members, kStep,
                      ") UNION ALL SELECT (SELECT m.id FROM (", next, kStep,
                      "), count + 1 FROM picked WHERE id IS NOT NULL AND count < $6::int)"
                      " SELECT id FROM picked WHERE id IS NOT NULL ORDER BY id");
}

// One statement per kind of audience and use: each has one plan, by index.
struct AudienceSql {
  AudienceSql(const char* kind, absl::string_view members)
      : names{absl::StrCat("open_members_", kind), absl::StrCat("bounded_members_", kind), absl::StrCat("cut_", kind),
              absl::StrCat("count_", kind), absl::StrCat("sample_", kind)},
        texts{absl::StrCat(members, " ORDER BY 1 LIMIT $5"),
              absl::StrCat("SELECT id FROM (", members, ") AS m WHERE id <= $6 ORDER BY 1 LIMIT $5"),
              absl::StrCat(members, " ORDER BY 1 OFFSET $5::bigint - 1 LIMIT 1"),
              absl::StrCat("SELECT count(*) FROM (", members, ") AS m"), SampleSql(members)} {}

  PgStatement open() const { return {names[0].c_str(), texts[0].c_str()}; }
  PgStatement bounded() const { return {names[1].c_str(), texts[1].c_str()}; }
  PgStatement cut() const { return {names[2].c_str(), texts[2].c_str()}; }
  PgStatement count() const { return {names[3].c_str(), texts[3].c_str()}; }
  PgStatement sample() const { return {names[4].c_str(), texts[4].c_str()}; }

  const std::string names[5];
  const std::string texts[5];
};

const AudienceSql& SqlOf(AudienceKind kind) {
  static const AudienceSql* const groups = new AudienceSql("group", kGroupMembers);
  static const AudienceSql* const users = new AudienceSql("users", kListedUsers);
  static const AudienceSql* const everyone = new AudienceSql("everyone", kEveryone);
  return kind == AudienceKind::kUsers ? *users : kind == AudienceKind::kEveryone ? *everyone : *groups;
}

// What $3 stands for.
std::string AudienceId(const Event& event) {
  return event.audience.kind == AudienceKind::kUsers ? event.id.ToString() : event.audience.id;
}

constexpr PgStatement kIsWindowHeld = {"is_window_held", R"sql(
  SELECT FROM dedupe_windows
  WHERE app_id = $1 AND type = $2 AND window_key = $3 AND expires_at > to_timestamp($4::bigint / 1e6::float8)
)sql"};

constexpr PgStatement kTakeWindow = {"take_window", R"sql(
  INSERT INTO dedupe_windows AS held (app_id, type, window_key, owner_id, expires_at)
  VALUES ($1, $2, $3, $4, to_timestamp($5::bigint / 1e6::float8) + $6::bigint * interval '1 microsecond')
  ON CONFLICT (app_id, type, window_key) DO UPDATE SET owner_id = EXCLUDED.owner_id, expires_at = EXCLUDED.expires_at
  WHERE held.expires_at <= to_timestamp($5::bigint / 1e6::float8) OR held.owner_id = EXCLUDED.owner_id
  RETURNING owner_id
)sql"};

constexpr PgStatement kSuppress = {"suppress_event", R"sql(
  UPDATE events SET state = 'suppressed', detail = $2, finished_at = clock_timestamp()
  WHERE event_id = $1 AND state = 'accepted'
)sql"};

constexpr PgStatement kBeginExpanding = {"begin_expanding", R"sql(
  WITH begun AS (
    UPDATE events SET state = 'expanding', started_at = clock_timestamp(), audience_size = $2
    WHERE event_id = $1 AND state = 'accepted'
    RETURNING event_id, app_id, type, traceparent
  ), ranges AS (
    SELECT * FROM unnest($3::smallint[], $4::text[], $5::text[], $6::bytea[]) AS r (shard, after, last_id, payload)
  ), first AS (
    UPDATE event_shards s SET last_id = r.last_id, updated_at = clock_timestamp()
    FROM begun, ranges r WHERE s.event_id = begun.event_id AND s.shard = 0 AND r.shard = 0
  ), others AS (
    INSERT INTO event_shards (event_id, shard, cursor, last_id)
    SELECT event_id, shard, after, last_id FROM begun, ranges WHERE shard > 0
  )
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
  SELECT new_uuid7(), app_id, 'fanout', '', $7, type, traceparent, payload FROM begun, ranges WHERE shard > 0
)sql"};

// Held until the commit: publishers take turns.
constexpr PgStatement kNextPosition = {"next_event_position", R"sql(
  INSERT INTO event_positions AS counter (app_id, position) VALUES ($1, 1)
  ON CONFLICT (app_id) DO UPDATE SET position = counter.position + 1
  RETURNING position
)sql"};

constexpr PgStatement kStoreShared = {"store_shared", R"sql(
  UPDATE events
  SET state = 'done', position = $2, audience_size = $3, item = $4::jsonb, placeholder = $5, started_at = clock_timestamp(),
      finished_at = clock_timestamp()
  WHERE event_id = $1 AND state = 'accepted'
)sql"};

constexpr PgStatement kFinishShards = {"finish_shards", "UPDATE event_shards SET done = true WHERE event_id = $1"};

// The shard first, then heads in the order of recipients, as everywhere. Heads and
// ids are put side by side as they come: no join, and any id serves any recipient.
constexpr PgStatement kWritePage = {"write_page", R"sql(
  WITH moved AS (
    UPDATE event_shards s
    SET cursor = $4, expanded = s.expanded + $5, done = $6, updated_at = clock_timestamp()
    FROM events e
    WHERE s.event_id = $1 AND s.shard = $2 AND s.cursor = $3 AND NOT s.done
      AND e.event_id = s.event_id AND e.state = 'expanding'
    RETURNING s.event_id
  ), next AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT new_uuid7(), $7, 'fanout', '', $8, $9, $10, ($11::bytea[])[1] FROM moved WHERE NOT $6
  ), heads AS (
    INSERT INTO feed_heads AS head (app_id, recipient_id, last_seq, unread, event_position)
    SELECT $7, recipient_id, 1, 1, coalesce((SELECT position FROM event_positions WHERE app_id = $7), 0)
    FROM moved, unnest($13::text[]) AS recipient_id
    ORDER BY recipient_id
    ON CONFLICT (app_id, recipient_id) DO UPDATE SET last_seq = head.last_seq + 1, unread = head.unread + 1
    RETURNING recipient_id, last_seq
  ), numbered AS (
    SELECT array_agg(recipient_id) AS recipients, array_agg(last_seq) AS seqs FROM heads
  ), items AS (
    INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, body, actor_id,
                            actor_name, actor_picture_url, image_url, action_link, badge, object_id, data)
    SELECT notification_id, $7, seq, to_timestamp($14::bigint / 1e6::float8), $15, recipient_id, $9,
           for_recipient($16, $24, recipient_id), for_recipient($17, $24, recipient_id), $18,
           for_recipient($19, $24, recipient_id), for_recipient($20, $24, recipient_id),
           for_recipient($21, $24, recipient_id), for_recipient($22, $24, recipient_id),
           for_recipient($23, $24, recipient_id), $25, $26::json
    FROM numbered, unnest($12::uuid[], recipients, seqs) AS item (notification_id, recipient_id, seq)
    WHERE recipient_id IS NOT NULL
    RETURNING notification_id, recipient_id, seq
  )
  SELECT notification_id, recipient_id, seq FROM items
  UNION ALL
  SELECT NULL, NULL, 0 FROM moved
)sql"};

constexpr PgStatement kCountSuppressed = {
    "count_suppressed", "UPDATE events SET suppressed = add_counts(suppressed, $2::jsonb) WHERE event_id = $1"};

// By a statement of its own after a shard's last page: of two that end together
// the one that commits last sees both.
constexpr PgStatement kFinish = {"finish_event", R"sql(
  UPDATE events SET state = 'done', finished_at = clock_timestamp()
  WHERE event_id = $1 AND state = 'expanding' AND NOT EXISTS (SELECT FROM event_shards WHERE event_id = $1 AND NOT done)
)sql"};

constexpr PgStatement kExpireEvents = {"expire_events", R"sql(
  DELETE FROM events WHERE event_id IN (
    SELECT event_id FROM events
    WHERE expires_at <= to_timestamp($1::bigint / 1e6::float8) AND finished_at IS NOT NULL
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
)sql"};

constexpr PgStatement kExpireWindows = {"expire_windows", R"sql(
  DELETE FROM dedupe_windows WHERE (app_id, type, window_key) IN (
    SELECT app_id, type, window_key FROM dedupe_windows
    WHERE expires_at <= to_timestamp($1::bigint / 1e6::float8) ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
)sql"};

// The texts of an item as feed_touch.cc reads them; empty ones are left out.
std::string ToJson(const FeedItem& item) {
  nlohmann::json json = {{"title", item.title}};
  const std::pair<const char*, const std::string*> texts[] = {{"body", &item.body},
                                                              {"actor_name", &item.actor_name},
                                                              {"actor_picture_url", &item.actor_picture_url},
                                                              {"image_url", &item.image_url},
                                                              {"action_link", &item.action_link},
                                                              {"badge", &item.badge}};
  for (const auto& [name, text] : texts) {
    if (!text->empty()) json[name] = *text;
  }
  return json.dump();
}

// An event's recipients have no notification: it is theirs that the item's id names.
void InsertDeliveries(PgSession& session, pqxx::transaction_base& transaction, const Event& event,
                      const EventStore::PageWrite& write, absl::Span<const WrittenItem> items) {
  static const std::string sql = absl::StrCat("WITH ", OutgoingSql("outgoing", 1, ""), BeginOutgoingSql(),
                                              kCountAndTell, " SELECT count(*) FROM outgoing");
  static const PgStatement kBegin = {"begin_page_deliveries", sql.c_str()};
  const std::vector<std::vector<NewDelivery>> deliveries = write.begin_deliveries(items);
  OutgoingColumns columns;
  for (size_t i = 0; i < items.size(); ++i) {
    const FeedKey key{event.app, RecipientId(items[i].recipient)};
    const DeliveryOrigin origin{.notification_id = items[i].id,
                                .key = key,
                                .retention_days = event.retention_days,
                                .type = event.type,
                                .lane = event.lane,
                                .exchange = write.exchange,
                                .routing_key = write.routing_key,
                                .traceparent = event.traceparent};
    for (const NewDelivery& delivery : deliveries[i]) columns.Add(origin, delivery);
  }
  if (columns.any()) columns.Execute(session, transaction, kBegin);
}

}  // namespace

absl::StatusOr<OpenPage> PostgresEventStore::Open(const FanoutPage& page) {
  static const std::string sql = absl::StrCat(
      "SELECT a.shared_audience_threshold, s.last_id, s.event_id IS NOT NULL AND NOT s.done AND s.cursor = $4 AS "
      "is_open, ",
      kEventColumns,
      " FROM events e JOIN apps a USING (app_id)"
      " LEFT JOIN event_shards s ON s.event_id = e.event_id AND s.shard = $3"
      " WHERE e.app_id = $1 AND e.event_id = $2");
  static const PgStatement kOpen = {"open_page", sql.c_str()};
  std::optional<OpenPage> open;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows =
        session.Execute(transaction, kOpen, page.app.value(), page.event_id.ToString(), page.shard, page.cursor);
    if (rows.empty()) return;
    const auto row = rows[0];
    open = OpenPage{.record = ToEventRecord(row),
                    .shared_audience_threshold = row["shared_audience_threshold"].as<int64_t>(),
                    .range = std::nullopt};
    if (!row["is_open"].as<bool>()) return;
    open->range = EventRange{.shard = page.shard, .after = page.cursor, .last_id = std::nullopt};
    if (!row["last_id"].is_null()) open->range->last_id = OwnedText(row["last_id"]);
  }));
  if (!open.has_value()) return error::NotFound("event", page.event_id.ToString());
  return *std::move(open);
}

absl::StatusOr<EventStore::Measure> PostgresEventStore::MeasureAudience(const Event& event, int64_t step,
                                                                        int64_t limit) {
  const AudienceSql& sql = SqlOf(event.audience.kind);
  const std::string kind(ToString(event.audience.kind)), id = AudienceId(event);
  Measure measure;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    measure = {};
    std::string after;
    while (measure.size <= limit) {
      const pqxx::result cut = session.Execute(transaction, sql.cut(), event.app.value(), kind, id, after, step);
      if (cut.empty()) break;
      after = OwnedText(cut[0][0]);
      measure.cuts.push_back(after);
      measure.size += step;
    }
    if (measure.size > limit) return;
    measure.size += session.Execute(transaction, sql.count(), event.app.value(), kind, id, after)[0][0].as<int64_t>();
  }));
  return measure;
}

absl::StatusOr<bool> PostgresEventStore::IsWindowHeld(const Event& event, const std::string& key) {
  bool held = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    held = !session
                .Execute(transaction, kIsWindowHeld, event.app.value(), event.type, key,
                         absl::ToUnixMicros(event.create_time))
                .empty();
  }));
  return held;
}

absl::StatusOr<std::vector<std::string>> PostgresEventStore::Sample(const Event& event, const std::string& after,
                                                                    int64_t every, int limit) {
  const PgStatement sample = SqlOf(event.audience.kind).sample();
  std::vector<std::string> members;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    members.clear();
    for (const auto& row :
         session.Execute(transaction, sample, event.app.value(), std::string(ToString(event.audience.kind)),
                         AudienceId(event), after, every, limit)) {
      members.push_back(OwnedText(row[0]));
    }
  }));
  return members;
}

absl::StatusOr<bool> PostgresEventStore::TakeWindow(const Event& event, const std::string& key, absl::Duration window) {
  bool taken = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    taken = !session
                 .Execute(transaction, kTakeWindow, event.app.value(), event.type, key, event.id.ToString(),
                          absl::ToUnixMicros(event.create_time), absl::ToInt64Microseconds(window))
                 .empty();
  }));
  return taken;
}

absl::Status PostgresEventStore::Suppress(const Uuid& id, const std::string& detail) {
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kSuppress, id.ToString(), detail);
  });
}

absl::Status PostgresEventStore::BeginExpanding(const Event& event, int64_t audience_size,
                                                absl::Span<const EventRange> ranges) {
  PgArray shards, after, last_ids, payloads;
  for (const EventRange& range : ranges) {
    shards.Add(static_cast<int64_t>(range.shard));
    after.Add(range.after);
    range.last_id.has_value() ? last_ids.Add(*range.last_id) : last_ids.AddNull();
    payloads.AddBytes(EncodeEnvelope(FanoutPage{
        .app = event.app, .event_id = event.id, .type = event.type, .shard = range.shard, .cursor = range.after}));
  }
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kBeginExpanding, event.id.ToString(), audience_size, shards.str(), after.str(),
                    last_ids.str(), payloads.str(), FanoutQueue(event.lane));
  });
}

absl::Status PostgresEventStore::StoreShared(const Event& event, int64_t audience_size, const PageItems& items) {
  bool stored = false;
  const absl::Status status = pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    const int64_t position = session.Execute(transaction, kNextPosition, event.app.value())[0][0].as<int64_t>();
    stored = session
                 .Execute(transaction, kStoreShared, event.id.ToString(), position, audience_size, ToJson(items.item),
                          items.placeholder)
                 .affected_rows() > 0;
    // Done before, or cancelled: the position is taken back with the rest.
    if (!stored) return absl::CancelledError("nothing to store");
    session.Execute(transaction, kFinishShards, event.id.ToString());
    return absl::OkStatus();
  });
  return stored || !absl::IsCancelled(status) ? status : absl::OkStatus();
}

absl::StatusOr<int64_t> PostgresEventStore::AddToTopicFeed(const Event& event, const FeedItem& item) {
  FeedItem shown = item;
  shown.id = event.id;
  shown.type = event.type;
  shown.create_time = event.create_time;
  return AddFeedItem(*pool_, TopicFeedKey(event.app, event.audience.id), event.retention_days, shown);
}

absl::StatusOr<std::vector<std::string>> PostgresEventStore::Members(const Event& event, const EventRange& range,
                                                                     int limit) {
  const AudienceSql& sql = SqlOf(event.audience.kind);
  const std::string kind(ToString(event.audience.kind)), id = AudienceId(event);
  std::vector<std::string> members;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows = range.last_id.has_value() ? session.Execute(transaction, sql.bounded(), event.app.value(),
                                                                          kind, id, range.after, limit, *range.last_id)
                                                        : session.Execute(transaction, sql.open(), event.app.value(),
                                                                          kind, id, range.after, limit);
    members.clear();
    members.reserve(rows.size());
    for (const auto& row : rows) members.push_back(OwnedText(row[0]));
  }));
  return members;
}

absl::StatusOr<std::vector<WrittenItem>> PostgresEventStore::WritePage(const Event& event, const PageWrite& write,
                                                                       const PageItems& items) {
  PgArray ids, recipients;
  for (const NotificationId& id : items.ids) ids.Add(id);
  for (const std::string& recipient : items.recipients) recipients.Add(recipient);
  FanoutPage next = write.page;
  next.cursor = write.new_cursor;
  const FeedItem& item = items.item;
  std::vector<WrittenItem> written;
  // False: somebody else has moved the cursor, or nobody is to be told any more.
  const auto write_items = [&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows = session.Execute(
        transaction, kWritePage, event.id.ToString(), write.page.shard, write.page.cursor, write.new_cursor, write.read,
        write.is_last, event.app.value(), FanoutQueue(event.lane), event.type, OrNull(event.traceparent),
        BytesLiteral(EncodeEnvelope(next)), ids.str(), recipients.str(), absl::ToUnixMicros(event.create_time),
        event.retention_days, item.title, OrNull(item.body), OrNull(item.actor_id), OrNull(item.actor_name),
        OrNull(item.actor_picture_url), OrNull(item.image_url), OrNull(item.action_link), OrNull(item.badge),
        items.placeholder, OrNull(item.object_id), OrNull(item.data_json));
    written.clear();
    written.reserve(rows.size());
    for (const auto& row : rows) {
      if (!row[0].is_null()) written.push_back({UuidOf(row[0]), OwnedText(row[1]), row[2].as<int64_t>()});
    }
    return !rows.empty();
  };
  if (write.begin_deliveries == nullptr && write.suppressed.empty()) {
    RETURN_IF_ERROR(pool_->Run(
        [&](PgSession& session, pqxx::transaction_base& transaction) { write_items(session, transaction); }));
    return written;
  }
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    if (!write_items(session, transaction)) return absl::OkStatus();
    if (!write.suppressed.empty()) {
      session.Execute(transaction, kCountSuppressed, event.id.ToString(), nlohmann::json(write.suppressed).dump());
    }
    if (write.begin_deliveries == nullptr) return absl::OkStatus();
    std::vector<WrittenItem> told = written;
    told.insert(told.end(), write.unshown.begin(), write.unshown.end());
    if (!told.empty()) InsertDeliveries(session, transaction, event, write, told);
    return absl::OkStatus();
  }));
  return written;
}

absl::Status PostgresEventStore::FinishIfDone(const Uuid& id) {
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kFinish, id.ToString());
  });
}

absl::StatusOr<int> PostgresEventStore::Expire(absl::Time now, int limit) {
  int expired = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    expired = 0;
    for (const PgStatement& statement : {kExpireEvents, kExpireWindows}) {
      expired +=
          static_cast<int>(session.Execute(transaction, statement, absl::ToUnixMicros(now), limit).affected_rows());
    }
  }));
  return expired;
}

}  // namespace carillon
