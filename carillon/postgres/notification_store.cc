#include "carillon/postgres/notification_store.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/rows.h"

namespace carillon {
namespace {

// Returns the positions of those whose key was there.
constexpr PgStatement kAccept = {"accept", R"sql(
  SELECT * FROM accept_notifications($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
)sql"};

constexpr PgStatement kReadKeys = {"read_keys", R"sql(
  SELECT asked.position, stored.notification_id, stored.payload_hash,
         (extract(epoch FROM stored.created_at) * 1e6)::bigint AS created_us
  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (app_id, idempotency_key, position)
  JOIN idempotency_keys stored USING (app_id, idempotency_key)
  WHERE stored.expires_at > now()
)sql"};

constexpr PgStatement kForgetExpiredKeys = {"forget_expired_keys", R"sql(
  DELETE FROM idempotency_keys stored
  USING unnest($1::bigint[], $2::text[]) AS asked (app_id, idempotency_key)
  WHERE stored.app_id = asked.app_id AND stored.idempotency_key = asked.idempotency_key AND stored.expires_at <= now()
)sql"};

constexpr const char* kRecordColumns = R"sql(
  n.notification_id, n.app_id, n.lane, n.type, n.recipient_id, n.actor_id, n.object_id, n.data, n.channels, n.retention_days,
  n.idempotency_key, n.detail, n.history,
  (extract(epoch FROM n.created_at) * 1e6)::bigint AS created_us,
  (extract(epoch FROM n.expires_at) * 1e6)::bigint AS expires_us,
  (extract(epoch FROM n.finished_at) * 1e6)::bigint AS finished_us,
  (extract(epoch FROM n.send_at) * 1e6)::bigint AS send_us,
  (extract(epoch FROM n.released_at) * 1e6)::bigint AS released_us,
)sql";

// The state that is shown: queued is accepted and gone from the outbox, and while
// deliveries are open it is theirs.
constexpr const char* kShownState = R"sql(
  CASE WHEN n.state = 'accepted' AND n.open_deliveries IS NOT NULL
       THEN CASE WHEN EXISTS (SELECT FROM deliveries d WHERE d.notification_id = n.notification_id
                                AND d.retention_days = n.retention_days AND d.state = 'pending')
                 THEN 'queued' ELSE 'held' END
       WHEN n.state = 'accepted' AND NOT EXISTS (
         SELECT FROM outbox o WHERE o.message_id = n.notification_id AND o.lane = n.lane)
       THEN 'queued' ELSE n.state END
)sql";

// When it came into the feed is in its id.
constexpr PgStatement kGetFromFeed = {"get_from_feed", R"sql(
  SELECT f.notification_id, f.app_id, 'social' AS lane, f.type, f.recipient_id, f.actor_id, f.object_id, f.data,
         '{in_app}'::text[] AS channels, f.retention_days, NULL::text AS idempotency_key, NULL::text AS detail, NULL::jsonb AS history,
         (extract(epoch FROM f.created_at) * 1e6)::bigint AS created_us, NULL::bigint AS expires_us,
         ('x' || left(replace(f.notification_id::text, '-', ''), 12))::bit(48)::bigint * 1000 AS finished_us,
         NULL::bigint AS send_us, NULL::bigint AS released_us, 'delivered' AS state
  FROM feed_items f WHERE f.notification_id = $1 AND f.app_id = $2 AND left(f.recipient_id, 1) <> E'\001'
)sql"};

// Its feed does not show it, as the recipient wants: the deliveries are all there is.
constexpr PgStatement kGetFromDeliveries = {"get_from_deliveries", R"sql(
  SELECT d.notification_id, d.app_id, min(d.lane) AS lane, min(d.type) AS type, min(d.recipient_id) AS recipient_id,
         NULL::text AS actor_id, NULL::text AS object_id, NULL::json AS data, array_agg(DISTINCT d.channel) AS channels,
         min(d.retention_days) AS retention_days, NULL::text AS idempotency_key, NULL::text AS detail, NULL::jsonb AS history,
         (extract(epoch FROM min(d.created_at)) * 1e6)::bigint AS created_us, NULL::bigint AS expires_us,
         CASE WHEN bool_and(d.finished_at IS NOT NULL) THEN (extract(epoch FROM max(d.finished_at)) * 1e6)::bigint END AS finished_us,
         NULL::bigint AS send_us, NULL::bigint AS released_us,
         CASE WHEN bool_or(d.state = 'pending') THEN 'queued' WHEN bool_or(d.state = 'held') THEN 'held'
              ELSE outcome_of_rank(min(CASE WHEN d.state IN ('sent', 'delivered', 'undelivered') THEN 1 WHEN d.state = 'dead' THEN 2
                                            WHEN d.state = 'expired' THEN 3 ELSE 4 END)) END AS state
  FROM deliveries d WHERE d.notification_id = $1 AND d.app_id = $2
  GROUP BY d.notification_id, d.app_id
)sql"};

constexpr PgStatement kRecordAttempts = {"record_attempts", R"sql(
  UPDATE notifications n
  SET attempts = greatest(n.attempts, i.attempt), history = coalesce(n.history, '[]'::jsonb) || i.entries
  FROM (SELECT notification_id, retention_days, max(attempt) AS attempt, jsonb_agg(entry ORDER BY position) AS entries
        FROM unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::jsonb[])
             WITH ORDINALITY AS rows (notification_id, retention_days, attempt, entry, position)
        GROUP BY notification_id, retention_days ORDER BY notification_id) AS i
  WHERE n.notification_id = i.notification_id AND n.retention_days = i.retention_days AND n.finished_at IS NULL
)sql"};

// The parameters of kAccept, column by column.
class AcceptColumns {
 public:
  void Add(const NewNotification& item) {
    const Notification& n = item.notification;
    ids_.Add(n.id);
    apps_.Add(n.app.value());
    created_.Add(n.create_time);
    n.expire_time.has_value() ? expires_.Add(*n.expire_time) : expires_.AddNull();
    retentions_.Add(n.retention_days);
    lanes_.Add(ToString(n.lane));
    types_.Add(n.type);
    recipients_.Add(n.recipient.value());
    actors_.AddOrNull(n.actor_id);
    objects_.AddOrNull(n.object_id);
    keys_.AddOrNull(item.idempotency_key);
    hashes_.AddBytesOrNull(item.payload_hash);
    channels_.Add(ChannelsLiteral(n.channels));
    data_.AddOrNull(n.data_json);
    exchanges_.Add(item.exchange);
    routing_keys_.Add(item.routing_key);
    traceparents_.AddOrNull(n.traceparent);
    payloads_.AddBytes(item.envelope);
    n.send_time.has_value() ? sends_.Add(*n.send_time) : sends_.AddNull();
    item.due_time.has_value() ? dues_.Add(*item.due_time) : dues_.AddNull();
  }

  pqxx::result Execute(PgSession& session, pqxx::transaction_base& transaction) const {
    return session.Execute(transaction, kAccept, ids_.str(), apps_.str(), created_.str(), expires_.str(),
                           retentions_.str(), lanes_.str(), types_.str(), recipients_.str(), actors_.str(),
                           objects_.str(), keys_.str(), hashes_.str(), channels_.str(), data_.str(), exchanges_.str(),
                           routing_keys_.str(), traceparents_.str(), payloads_.str(), sends_.str(), dues_.str());
  }

 private:
  PgArray ids_, apps_, created_, expires_, retentions_, lanes_, types_, recipients_, actors_, objects_, keys_, hashes_,
      channels_, data_, exchanges_, routing_keys_, traceparents_, payloads_, sends_, dues_;
};

// Inserts the items at `positions`. Returns the positions whose key was there.
std::vector<size_t> Insert(PgSession& session, pqxx::transaction_base& transaction,
                           absl::Span<const NewNotification> items, const std::vector<size_t>& positions) {
  AcceptColumns columns;
  for (const size_t position : positions) columns.Add(items[position]);
  std::vector<size_t> taken;
  for (const auto& row : columns.Execute(session, transaction)) taken.push_back(positions[row[0].as<size_t>() - 1]);
  return taken;
}

// Answers the items whose key was there from what is stored. Returns those whose
// key has expired; it is removed, so that they can be inserted.
std::vector<size_t> AnswerFromStored(PgSession& session, pqxx::transaction_base& transaction,
                                     absl::Span<const NewNotification> items, const std::vector<size_t>& taken,
                                     std::vector<AcceptOutcome>& outcomes) {
  PgArray apps, keys;
  for (const size_t position : taken) {
    apps.Add(items[position].notification.app.value());
    keys.Add(items[position].idempotency_key);
  }
  std::vector<bool> answered(taken.size(), false);
  for (const auto& row : session.Execute(transaction, kReadKeys, apps.str(), keys.str())) {
    const size_t index = row["position"].as<size_t>() - 1;
    const NewNotification& item = items[taken[index]];
    AcceptOutcome& outcome = outcomes[taken[index]];
    answered[index] = true;
    outcome.id = UuidOf(row["notification_id"]);
    // The caller's own, if it repeats a call whose outcome it did not learn.
    outcome.duplicate = outcome.id != item.notification.id;
    outcome.create_time = TimeOf(row["created_us"]);
    const bool same = BytesOf(row["payload_hash"]) == item.payload_hash;
    outcome.status = same ? absl::OkStatus() : error::IdempotencyKeyReused(item.idempotency_key);
  }
  std::vector<size_t> expired;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (!answered[i]) expired.push_back(taken[i]);
  }
  if (!expired.empty()) session.Execute(transaction, kForgetExpiredKeys, apps.str(), keys.str());
  return expired;
}

// How far an Accept has come. Where each statement commits by itself, what is done
// stays done when a later one fails.
struct AcceptProgress {
  explicit AcceptProgress(size_t items) : open(items) { std::iota(open.begin(), open.end(), 0); }

  std::vector<size_t> open;   // To be inserted.
  std::vector<size_t> taken;  // Their keys were there: to be answered from what is stored.
  bool inserted_any = false;
};

std::vector<AcceptOutcome> FirstAnswers(absl::Span<const NewNotification> items) {
  std::vector<AcceptOutcome> outcomes;
  for (const NewNotification& item : items) {
    outcomes.push_back({absl::OkStatus(), false, item.notification.id, item.notification.create_time});
  }
  return outcomes;
}

// Goes on from where `progress` stands, in whatever transaction the caller has. An
// expired key is met at most once per item; the rounds bound a race with other writers.
void AcceptAll(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const NewNotification> items,
               AcceptProgress& progress, std::vector<AcceptOutcome>& outcomes) {
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    if (!progress.open.empty()) {
      progress.taken = Insert(session, transaction, items, progress.open);
      progress.open.clear();
      progress.inserted_any = true;
    }
    if (progress.taken.empty()) return;
    progress.open = AnswerFromStored(session, transaction, items, progress.taken, outcomes);
    progress.taken.clear();
    if (progress.open.empty()) return;
  }
}

// What is left over fails alone; the rest has its answers.
void FailTheRest(const AcceptProgress& progress, const absl::Status& status, std::vector<AcceptOutcome>& outcomes) {
  for (const std::vector<size_t>* positions : {&progress.open, &progress.taken}) {
    for (const size_t position : *positions) outcomes[position].status = status;
  }
}

absl::Status KeyIsBeingReplaced() {
  return error::BackendUnavailable("postgresql", "an idempotency key is being replaced");
}

NotificationRecord ToRecord(const pqxx::row& row) {
  NotificationRecord record;
  record.notification = NotificationOf(row);
  if (!row["send_us"].is_null()) record.notification.send_time = TimeOf(row["send_us"]);
  if (!row["released_us"].is_null()) record.release_time = TimeOf(row["released_us"]);
  if (!row["finished_us"].is_null()) record.finish_time = TimeOf(row["finished_us"]);
  record.detail = OwnedText(row["detail"]);
  record.idempotency_key = OwnedText(row["idempotency_key"]);
  record.state = ParseState(Text(row["state"])).value_or(State::kAccepted);
  if (row["history"].is_null()) return record;
  for (const auto& entry : nlohmann::json::parse(Text(row["history"]))) {
    record.history.push_back({absl::FromUnixMicros(entry.at("time_us").get<int64_t>()), entry.value("attempt", 0),
                              entry.value("detail", std::string())});
  }
  return record;
}

}  // namespace

absl::StatusOr<std::vector<AcceptOutcome>> PostgresNotificationStore::Accept(absl::Span<const NewNotification> items,
                                                                             bool all_or_nothing) {
  std::vector<AcceptOutcome> outcomes = FirstAnswers(items);
  if (!all_or_nothing) {
    AcceptProgress progress(items.size());
    const absl::Status status = pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
      AcceptAll(session, transaction, items, progress, outcomes);
    });
    if (!status.ok() && !progress.inserted_any) return status;
    FailTheRest(progress, status.ok() ? KeyIsBeingReplaced() : status, outcomes);
    return outcomes;
  }
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    AcceptProgress progress(items.size());
    outcomes = FirstAnswers(items);
    AcceptAll(session, transaction, items, progress, outcomes);
    FailTheRest(progress, KeyIsBeingReplaced(), outcomes);
    for (const AcceptOutcome& outcome : outcomes) RETURN_IF_ERROR(outcome.status);
    return absl::OkStatus();
  }));
  return outcomes;
}

absl::StatusOr<NotificationRecord> PostgresNotificationStore::Get(AppId app, const NotificationId& id) {
  static const std::string sql =
      absl::StrCat("SELECT ", kRecordColumns, kShownState,
                   " AS state FROM notifications n WHERE n.notification_id = $1 AND n.app_id = $2");
  static const PgStatement kGet = {"get_notification", sql.c_str()};
  NotificationRecord record;
  bool found = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows = session.Execute(transaction, kGet, id.ToString(), app.value());
    found = !rows.empty();
    if (found) record = ToRecord(rows[0]);
  }));
  if (found) return record;
  return GetOfEvent(app, id);
}

// What an event told a recipient has its record in the feed, or else in what was sent.
absl::StatusOr<NotificationRecord> PostgresNotificationStore::GetOfEvent(AppId app, const NotificationId& id) {
  std::optional<NotificationRecord> record;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    pqxx::result rows = session.Execute(transaction, kGetFromFeed, id.ToString(), app.value());
    if (rows.empty()) rows = session.Execute(transaction, kGetFromDeliveries, id.ToString(), app.value());
    if (!rows.empty()) record = ToRecord(rows[0]);
  }));
  if (!record.has_value()) return error::NotFound("notification", id.ToString());
  return *std::move(record);
}

absl::StatusOr<std::vector<NotificationRecord>> PostgresNotificationStore::List(const ListQuery& query) {
  // The largest id stands for "from the newest", so that one plan serves all pages.
  static constexpr absl::string_view kNewest = "ffffffff-ffff-ffff-ffff-ffffffffffff";
  static const std::string base = absl::StrCat("SELECT ", kRecordColumns, kShownState,
                                               " AS state FROM notifications n"
                                               " WHERE n.app_id = $1 AND n.notification_id < $2 AND ($3 = '' OR $3 = ",
                                               kShownState, ")");
  static const std::string order = " ORDER BY n.notification_id DESC LIMIT $4";
  static const std::string all_sql = base + order;
  static const std::string one_sql = base + " AND n.recipient_id = $5" + order;
  static const PgStatement kListAll = {"list_notifications", all_sql.c_str()};
  static const PgStatement kListOne = {"list_notifications_of", one_sql.c_str()};

  const std::string before = query.older_than.has_value() ? query.older_than->ToString() : std::string(kNewest);
  const std::string state(query.state.has_value() ? ToString(*query.state) : "");
  std::vector<NotificationRecord> records;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows =
        query.recipient.empty()
            ? session.Execute(transaction, kListAll, query.app.value(), before, state, query.limit)
            : session.Execute(transaction, kListOne, query.app.value(), before, state, query.limit, query.recipient);
    for (const auto& row : rows) records.push_back(ToRecord(row));
  }));
  return records;
}

absl::Status PostgresNotificationStore::RecordAttempts(absl::Span<const FailedAttempt> attempts) {
  PgArray ids, retentions, numbers, entries;
  for (const FailedAttempt& attempt : attempts) {
    ids.Add(attempt.id);
    retentions.Add(attempt.retention_days);
    numbers.Add(attempt.entry.attempt);
    const nlohmann::json entry = {{"time_us", absl::ToUnixMicros(attempt.entry.time)},
                                  {"attempt", attempt.entry.attempt},
                                  {"detail", StorableText(attempt.entry.detail, limits::kMaxErrorBytes)}};
    entries.Add(entry.dump());
  }
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kRecordAttempts, ids.str(), retentions.str(), numbers.str(), entries.str());
  });
}

}  // namespace carillon
