#include "carillon/postgres/event_store.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/event_rows.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

// The key first; then, if it is new or there is none, everything else. Returns a
// row if the event was accepted.
constexpr PgStatement kAcceptEvent = {"accept_event", R"sql(
  WITH key AS (
    INSERT INTO idempotency_keys (app_id, idempotency_key, notification_id, payload_hash, created_at, expires_at)
    SELECT $2, $3, $1, ($4::bytea[])[1], to_timestamp($5::bigint / 1e6::float8),
           to_timestamp($5::bigint / 1e6::float8) + interval '24 hours'
    WHERE $3::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING notification_id
  ), accepted AS (
    INSERT INTO events (event_id, app_id, created_at, expires_at, retention_days, lane, audience, audience_id, users, type, actor_id,
                        object_id, idempotency_key, traceparent, data)
    SELECT $1, $2, to_timestamp($5::bigint / 1e6::float8),
           to_timestamp($5::bigint / 1e6::float8) + 2 * make_interval(days => $6), $6, $7, $8, $9, $10::text[], $11, $12, $13, $3, $14, $15::json
    WHERE $3::text IS NULL OR EXISTS (SELECT FROM key)
    RETURNING event_id
  ), shard AS (
    INSERT INTO event_shards (event_id, shard, cursor) SELECT event_id, 0, '' FROM accepted
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT new_uuid7(), $2, 'fanout', '', $16, $11, $14, ($17::bytea[])[1] FROM accepted
  )
  SELECT event_id FROM accepted
)sql"};

constexpr PgStatement kReadKey = {"read_event_key", R"sql(
  SELECT notification_id, payload_hash, (extract(epoch FROM created_at) * 1e6)::bigint AS created_us, expires_at > now() AS valid
  FROM idempotency_keys WHERE app_id = $1 AND idempotency_key = $2
)sql"};

constexpr PgStatement kForgetKey = {"forget_event_key", R"sql(
  DELETE FROM idempotency_keys WHERE app_id = $1 AND idempotency_key = $2 AND expires_at <= now()
)sql"};

constexpr PgStatement kPause = {"pause_event", R"sql(
  UPDATE events SET state = 'paused' WHERE app_id = $1 AND event_id = $2 AND state IN ('accepted', 'expanding')
)sql"};

constexpr PgStatement kCancel = {"cancel_event", R"sql(
  UPDATE events SET state = 'cancelled', finished_at = clock_timestamp()
  WHERE app_id = $1 AND event_id = $2 AND state IN ('accepted', 'expanding', 'paused')
)sql"};

constexpr PgStatement kResume = {"resume_event", R"sql(
  UPDATE events SET state = CASE WHEN started_at IS NULL THEN 'accepted' ELSE 'expanding' END, detail = NULL
  WHERE app_id = $1 AND event_id = $2 AND state = 'paused'
)sql"};

constexpr PgStatement kOpenShards = {"open_shards", R"sql(
  SELECT e.app_id, e.event_id, e.type, e.lane, e.traceparent, s.shard, s.cursor
  FROM event_shards s JOIN events e USING (event_id) WHERE e.event_id = $1 AND NOT s.done ORDER BY s.shard
)sql"};

// Neither a page under way nor one in the outbox touches the shard in this time.
constexpr PgStatement kIdleShards = {"idle_shards", R"sql(
  SELECT e.app_id, e.event_id, e.type, e.lane, e.traceparent, s.shard, s.cursor
  FROM events e JOIN event_shards s USING (event_id)
  WHERE e.finished_at IS NULL AND e.state <> 'paused' AND e.lane = $1 AND NOT s.done
    AND s.updated_at < to_timestamp($2::bigint / 1e6::float8)
  ORDER BY e.event_id, s.shard LIMIT $3 FOR UPDATE OF s SKIP LOCKED
)sql"};

// All is told, and who told the last of it did not come to say so.
constexpr PgStatement kFinishIdle = {"finish_idle_events", R"sql(
  UPDATE events e SET state = 'done', finished_at = clock_timestamp()
  WHERE e.finished_at IS NULL AND e.state = 'expanding' AND e.lane = $1
    AND NOT EXISTS (SELECT FROM event_shards s WHERE s.event_id = e.event_id
                      AND NOT (s.done AND s.updated_at < to_timestamp($2::bigint / 1e6::float8)))
)sql"};

constexpr PgStatement kTouchShard = {"touch_shard", R"sql(
  UPDATE event_shards SET updated_at = clock_timestamp() WHERE event_id = $1 AND shard = $2
)sql"};

constexpr PgStatement kQueuePage = {"queue_page", R"sql(
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload, replay_count)
  VALUES (new_uuid7(), $1, 'fanout', '', $2, $3, $4, ($5::bytea[])[1], $6)
)sql"};

bool Insert(PgSession& session, pqxx::transaction_base& transaction, const NewEvent& event) {
  const Event& e = event.event;
  PgArray users;
  for (const std::string& user : e.audience.users) users.Add(user);
  const std::string user_list = users.str();
  const bool has_users = e.audience.kind == AudienceKind::kUsers;
  const std::string envelope =
      EncodeEnvelope(FanoutPage{.app = e.app, .event_id = e.id, .type = e.type, .shard = 0, .cursor = ""});
  return !session
              .Execute(transaction, kAcceptEvent, e.id.ToString(), e.app.value(), OrNull(event.idempotency_key),
                       BytesLiteral(event.payload_hash), absl::ToUnixMicros(e.create_time), e.retention_days,
                       std::string(ToString(e.lane)), std::string(ToString(e.audience.kind)), OrNull(e.audience.id),
                       has_users ? user_list.c_str() : nullptr, e.type, OrNull(e.actor_id), OrNull(e.object_id),
                       OrNull(e.traceparent), OrNull(e.data_json), FanoutQueue(e.lane), BytesLiteral(envelope))
              .empty();
}

// False: the key has expired, and is free now.
absl::StatusOr<bool> AnswerFromStored(PgSession& session, pqxx::transaction_base& transaction, const NewEvent& event,
                                      EventOutcome& outcome) {
  const int64_t app = event.event.app.value();
  const pqxx::result rows = session.Execute(transaction, kReadKey, app, event.idempotency_key);
  if (rows.empty() || !rows[0]["valid"].as<bool>()) {
    session.Execute(transaction, kForgetKey, app, event.idempotency_key);
    return false;
  }
  outcome.id = UuidOf(rows[0]["notification_id"]);
  // The caller's own, if it repeats a call whose outcome it did not learn.
  outcome.duplicate = outcome.id != event.event.id;
  outcome.create_time = TimeOf(rows[0]["created_us"]);
  if (BytesOf(rows[0]["payload_hash"]) != event.payload_hash) return error::IdempotencyKeyReused(event.idempotency_key);
  return true;
}

void QueuePages(PgSession& session, pqxx::transaction_base& transaction, const pqxx::result& shards,
                int replay_count = 0) {
  for (const auto& row : shards) {
    const FanoutPage page{.app = AppId(row["app_id"].as<int64_t>()),
                          .event_id = UuidOf(row["event_id"]),
                          .type = OwnedText(row["type"]),
                          .shard = row["shard"].as<int>(),
                          .cursor = OwnedText(row["cursor"])};
    const std::string queue = FanoutQueue(ParseLane(Text(row["lane"])).value_or(Lane::kSocial));
    session.Execute(transaction, kTouchShard, page.event_id.ToString(), page.shard);
    session.Execute(transaction, kQueuePage, page.app.value(), queue, page.type, OrNull(OwnedText(row["traceparent"])),
                    BytesLiteral(EncodeEnvelope(page)), replay_count);
  }
}

}  // namespace

absl::StatusOr<EventOutcome> PostgresEventStore::Accept(const NewEvent& event) {
  // An expired key is met once; more rounds bound a race with other writers.
  constexpr int kRounds = 3;
  EventOutcome outcome{.duplicate = false, .id = event.event.id, .create_time = event.event.create_time};
  absl::Status answer = error::BackendUnavailable("postgresql", "an idempotency key is being replaced");
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    for (int round = 0; round < kRounds; ++round) {
      if (Insert(session, transaction, event)) {
        answer = absl::OkStatus();
        return;
      }
      const absl::StatusOr<bool> answered = AnswerFromStored(session, transaction, event, outcome);
      answer = answered.ok() && !*answered ? answer : answered.status();
      if (!answered.ok() || *answered) return;
    }
  }));
  RETURN_IF_ERROR(answer);
  return outcome;
}

absl::StatusOr<EventRecord> PostgresEventStore::Get(AppId app, const Uuid& id) {
  static const std::string sql =
      absl::StrCat("SELECT ", kEventColumns, " FROM events e WHERE e.event_id = $2 AND e.app_id = $1");
  static const PgStatement kGet = {"get_event", sql.c_str()};
  std::optional<EventRecord> record;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows = session.Execute(transaction, kGet, app.value(), id.ToString());
    if (!rows.empty()) record = ToEventRecord(rows[0]);
  }));
  if (!record.has_value()) return error::NotFound("event", id.ToString());
  return *std::move(record);
}

absl::StatusOr<EventRecord> PostgresEventStore::Change(AppId app, const Uuid& id, const PgStatement& statement,
                                                       EventState wanted) {
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, statement, app.value(), id.ToString());
  }));
  ASSIGN_OR_RETURN(EventRecord record, Get(app, id));
  if (record.state != wanted) return error::EventHasEnded(id.ToString(), ToString(record.state));
  return record;
}

absl::StatusOr<EventRecord> PostgresEventStore::Pause(AppId app, const Uuid& id) {
  return Change(app, id, kPause, EventState::kPaused);
}

absl::StatusOr<EventRecord> PostgresEventStore::Cancel(AppId app, const Uuid& id) {
  return Change(app, id, kCancel, EventState::kCancelled);
}

bool ResumeEventRows(PgSession& session, pqxx::transaction_base& transaction, AppId app, const Uuid& id,
                     int replay_count) {
  if (session.Execute(transaction, kResume, app.value(), id.ToString()).affected_rows() == 0) return false;
  QueuePages(session, transaction, session.Execute(transaction, kOpenShards, id.ToString()), replay_count);
  return true;
}

// A page that was under way when it was paused may still be in a queue; of two
// with one cursor, one does nothing.
absl::StatusOr<EventRecord> PostgresEventStore::Resume(AppId app, const Uuid& id) {
  bool resumed = false;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    resumed = ResumeEventRows(session, transaction, app, id);
    return absl::OkStatus();
  }));
  // Its last page may have been under way when it was paused.
  if (resumed) RETURN_IF_ERROR(FinishIfDone(id));
  ASSIGN_OR_RETURN(EventRecord record, Get(app, id));
  if (!resumed && record.finish_time.has_value()) return error::EventHasEnded(id.ToString(), ToString(record.state));
  return record;
}

absl::StatusOr<int> PostgresEventStore::RequeueIdle(Lane lane, absl::Time idle_since, int limit) {
  int queued = 0;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    const pqxx::result idle =
        session.Execute(transaction, kIdleShards, std::string(ToString(lane)), absl::ToUnixMicros(idle_since), limit);
    QueuePages(session, transaction, idle);
    queued = static_cast<int>(idle.size());
    session.Execute(transaction, kFinishIdle, std::string(ToString(lane)), absl::ToUnixMicros(idle_since));
    return absl::OkStatus();
  }));
  return queued;
}

}  // namespace carillon
