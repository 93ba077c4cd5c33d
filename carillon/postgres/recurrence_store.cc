#include "carillon/postgres/recurrence_store.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// Those of an app are counted one after the other.
constexpr PgStatement kLockApp = {"lock_app_recurrences", "SELECT FROM apps WHERE app_id = $1 FOR NO KEY UPDATE"};

constexpr PgStatement kCreate = {"create_recurrence", R"sql(
  INSERT INTO recurrences (recurrence_id, app_id, created_at, next_at, cron, time_zone, type, recipient_id, request)
  SELECT $1, $2, to_timestamp($3::bigint / 1e6::float8), to_timestamp($4::bigint / 1e6::float8), $5, $6, $7, $8,
         ($9::bytea[])[1]
  WHERE (SELECT count(*) FROM recurrences WHERE app_id = $2) < $10::int
)sql"};

constexpr const char* kColumns = R"sql(
  r.recurrence_id, r.app_id, r.cron, r.time_zone, r.type, r.recipient_id, r.last_error,
  (extract(epoch FROM r.created_at) * 1e6)::bigint AS created_us,
  (extract(epoch FROM r.next_at) * 1e6)::bigint AS next_us
)sql";

constexpr PgStatement kDelete = {"delete_recurrence",
                                 "DELETE FROM recurrences WHERE app_id = $1 AND recurrence_id = $2"};

// Due by real time, and so for every app: no clock is behind it.
constexpr const char* kDue = R"sql(
  , r.request, a.clock_offset FROM recurrences r JOIN apps a USING (app_id)
  WHERE r.next_at <= to_timestamp($1::bigint / 1e6::float8)
    AND (r.next_at, r.recurrence_id) > (to_timestamp($2::bigint / 1e6::float8), $3::uuid)
  ORDER BY r.next_at, r.recurrence_id LIMIT $4 FOR UPDATE OF r SKIP LOCKED
)sql";

// Later than those, and due only because their app's clock is ahead. Few apps have such:
// from them to theirs, never through all that is to come.
constexpr const char* kAhead = R"sql(
  WITH ahead AS MATERIALIZED (
    SELECT r.recurrence_id, r.next_at, a.clock_offset
    FROM (SELECT app_id, clock_offset FROM apps WHERE clock_offset > 0 OFFSET 0) AS a
    CROSS JOIN LATERAL (SELECT recurrence_id, next_at FROM recurrences WHERE app_id = a.app_id OFFSET 0) AS r
    WHERE r.next_at > to_timestamp($1::bigint / 1e6::float8)
      AND r.next_at <= to_timestamp(($1::bigint + a.clock_offset) / 1e6::float8)
      AND (r.next_at, r.recurrence_id) > (to_timestamp($2::bigint / 1e6::float8), $3::uuid)
    ORDER BY r.next_at, r.recurrence_id LIMIT $4
  )
)sql";
constexpr const char* kDueAhead = R"sql(
  , r.request, ahead.clock_offset
  FROM ahead JOIN recurrences r ON r.recurrence_id = ahead.recurrence_id AND r.next_at = ahead.next_at
  ORDER BY ahead.next_at, ahead.recurrence_id FOR UPDATE OF r SKIP LOCKED
)sql";

constexpr PgStatement kTurn = {"turn_recurrences", R"sql(
  UPDATE recurrences r
  SET next_at = to_timestamp(turn.next_us / 1e6::float8), last_error = turn.error
  FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS turn (recurrence_id, next_us, error)
  WHERE r.recurrence_id = turn.recurrence_id
)sql"};

Recurrence RecurrenceOf(const pqxx::row& row) {
  Recurrence recurrence{.id = UuidOf(row["recurrence_id"]),
                        .app = AppId(row["app_id"].as<int64_t>()),
                        .create_time = TimeOf(row["created_us"]),
                        .next_time = {},
                        .cron = OwnedText(row["cron"]),
                        .time_zone = OwnedText(row["time_zone"]),
                        .type = OwnedText(row["type"]),
                        .recipient = OwnedText(row["recipient_id"]),
                        .last_error = OwnedText(row["last_error"]),
                        .request = ""};
  if (!row["next_us"].is_null()) recurrence.next_time = TimeOf(row["next_us"]);
  return recurrence;
}

void AddDue(const pqxx::result& rows, absl::Time now, std::vector<DueRecurrence>& due) {
  for (const auto& row : rows) {
    due.push_back(
        {.recurrence = RecurrenceOf(row), .app_time = now + absl::Microseconds(row["clock_offset"].as<int64_t>())});
    due.back().recurrence.request = BytesOf(row["request"]);
  }
}

std::vector<DueRecurrence> TakeDue(PgSession& session, pqxx::work& transaction,
                                   const RecurrenceStore::DueQuery& query) {
  static const std::string due_sql = absl::StrCat("SELECT", kColumns, kDue);
  static const std::string ahead_sql = absl::StrCat(kAhead, "SELECT", kColumns, kDueAhead);
  static const PgStatement kTakeDue = {"take_due_recurrences", due_sql.c_str()};
  static const PgStatement kTakeAhead = {"take_recurrences_ahead", ahead_sql.c_str()};
  const RecurrenceStore::DuePosition after =
      query.after.value_or(RecurrenceStore::DuePosition{.next_time = absl::UnixEpoch(), .id = {}});
  std::vector<DueRecurrence> due;
  for (const PgStatement* statement : {&kTakeDue, &kTakeAhead}) {
    const int left = query.limit - static_cast<int>(due.size());
    if (left == 0) break;
    AddDue(session.Execute(transaction, *statement, absl::ToUnixMicros(query.now), absl::ToUnixMicros(after.next_time),
                           after.id.ToString(), left),
           query.now, due);
  }
  return due;
}

void WriteTurns(PgSession& session, pqxx::work& transaction, absl::Span<const RecurrenceTurn> turns) {
  if (turns.empty()) return;
  PgArray ids, times, errors;
  for (const RecurrenceTurn& turn : turns) {
    ids.Add(turn.id);
    turn.next_time.has_value() ? times.Add(*turn.next_time) : times.AddNull();
    errors.AddOrNull(StorableText(turn.error, limits::kMaxErrorBytes));
  }
  session.Execute(transaction, kTurn, ids.str(), times.str(), errors.str());
}

}  // namespace

absl::Status PostgresRecurrenceStore::Create(const Recurrence& recurrence) {
  std::optional<int64_t> next_us;
  if (recurrence.next_time.has_value()) next_us = absl::ToUnixMicros(*recurrence.next_time);
  return pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    session.Execute(transaction, kLockApp, recurrence.app.value());
    const auto rows = session.Execute(transaction, kCreate, recurrence.id.ToString(), recurrence.app.value(),
                                      absl::ToUnixMicros(recurrence.create_time), next_us, recurrence.cron,
                                      recurrence.time_zone, recurrence.type, OrNull(recurrence.recipient),
                                      BytesLiteral(recurrence.request), kMaxRecurrences);
    if (rows.affected_rows() == 1) return absl::OkStatus();
    return error::InvalidField("recurrence",
                               absl::StrCat("would be more than the ", kMaxRecurrences, " that an app may have"));
  });
}

absl::StatusOr<std::vector<Recurrence>> PostgresRecurrenceStore::List(const ListQuery& query) {
  static const std::string sql =
      absl::StrCat("SELECT", kColumns,
                   "FROM recurrences r WHERE r.app_id = $1 AND r.recurrence_id > $2 ORDER BY r.recurrence_id LIMIT $3");
  static const PgStatement kList = {"list_recurrences", sql.c_str()};
  std::vector<Recurrence> recurrences;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    recurrences.clear();
    for (const auto& row :
         session.Execute(transaction, kList, query.app.value(), query.after.value_or(Uuid()).ToString(), query.limit)) {
      recurrences.push_back(RecurrenceOf(row));
    }
  }));
  return recurrences;
}

absl::StatusOr<bool> PostgresRecurrenceStore::Delete(AppId app, const Uuid& id) {
  bool deleted = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    deleted = session.Execute(transaction, kDelete, app.value(), id.ToString()).affected_rows() == 1;
  }));
  return deleted;
}

absl::StatusOr<std::optional<RecurrenceStore::DuePosition>> PostgresRecurrenceStore::RunDue(const DueQuery& query,
                                                                                            CarryOut carry_out) {
  std::optional<DuePosition> position;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    position.reset();
    const std::vector<DueRecurrence> due = TakeDue(session, transaction, query);
    if (due.empty()) return absl::OkStatus();
    WriteTurns(session, transaction, carry_out(due));
    const Recurrence& last = due.back().recurrence;
    if (due.size() == static_cast<size_t>(query.limit)) position = DuePosition{*last.next_time, last.id};
    return absl::OkStatus();
  }));
  return position;
}

}  // namespace carillon
