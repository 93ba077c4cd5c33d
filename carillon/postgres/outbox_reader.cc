#include "carillon/postgres/outbox_reader.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/ports/monotonic.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/schedules.h"

namespace carillon {

namespace {

// Deleted as they are taken, in the transaction that ends when the broker has
// confirmed them: one write to each row instead of a lock and a deletion.
constexpr absl::string_view kPrepareTake = R"sql(
  PREPARE take (int, uuid) AS
  WITH gone AS (
    DELETE FROM outbox_$0_ready
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM outbox_$0_ready WHERE message_id >= $$2
                            ORDER BY message_id LIMIT $$1 FOR UPDATE SKIP LOCKED))
    RETURNING message_id, app_id, attempts, exchange, routing_key, type, traceparent, payload, replay_count)
  SELECT * FROM gone ORDER BY message_id
)sql";

// What was deleted stays in the index until it is vacuumed, and a reader from the
// start walks over it. So the start is looked at now and then only, and the other
// reads begin a little before where it was found to be. An older row that is
// committed meanwhile waits for the next look.
constexpr absl::Duration kStartInterval = absl::Milliseconds(250);
constexpr absl::Duration kFloorMargin = absl::Seconds(1);

// Whole messages, each with its delivery: well within the statement's time.
constexpr int kMostSchedules = 1000;

// Rows are moved between the parts by DELETE and INSERT: a reader that comes upon
// one that an UPDATE moved away would fail, where one that is gone is passed over.
constexpr absl::string_view kDefer = R"sql(
  INSERT INTO outbox_$0_deferred (message_id, app_id, available_at, attempts, deferred, lane, exchange, routing_key, type,
                                  traceparent, last_error, payload, replay_count)
  SELECT message_id, app_id, clock_timestamp() + delay * interval '1 millisecond', attempts + 1, true, '$0', exchange,
         routing_key, type, traceparent, error, payload, replay_count
  FROM unnest($$1::uuid[], $$2::bigint[], $$3::bigint[], $$4::int[], $$5::text[], $$6::text[], $$7::text[], $$8::text[],
              $$9::text[], $$10::bytea[], $$11::smallint[])
    AS rows (message_id, app_id, delay, attempts, exchange, routing_key, type, traceparent, error, payload, replay_count)
)sql";

// now() and not clock_timestamp(): an index can't be searched for what changes as it is read.
constexpr absl::string_view kRelease = R"sql(
  WITH due AS MATERIALIZED (
    SELECT message_id FROM outbox_$0_deferred WHERE available_at <= now()
    ORDER BY available_at LIMIT $$1 FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM outbox_$0_deferred o USING due WHERE o.message_id = due.message_id RETURNING o.*)
  INSERT INTO outbox_$0_ready (message_id, app_id, available_at, attempts, lane, exchange, routing_key, type,
                               traceparent, last_error, payload, replay_count)
  SELECT message_id, app_id, available_at, attempts, lane, exchange, routing_key, type, traceparent, last_error,
         payload, replay_count FROM gone
)sql";

// The parameters of kDefer, column by column.
class DeferColumns {
 public:
  void Add(const OutboxReader::Failure& failure) {
    const OutboxRow& row = *failure.row;
    ids_.Add(row.message_id);
    apps_.Add(row.app.value());
    delays_.Add(absl::ToInt64Milliseconds(failure.delay));
    attempts_.Add(row.attempts);
    exchanges_.Add(row.exchange);
    routing_keys_.Add(row.routing_key);
    types_.Add(row.type);
    traceparents_.AddOrNull(row.traceparent);
    errors_.Add(StorableText(failure.error, limits::kMaxErrorBytes));
    payloads_.AddBytes(row.payload);
    replays_.Add(row.replay_count);
  }
  void Execute(PgSession& session, pqxx::transaction_base& transaction, const PgStatement& statement) const {
    session.Execute(transaction, statement, ids_.str(), apps_.str(), delays_.str(), attempts_.str(), exchanges_.str(),
                    routing_keys_.str(), types_.str(), traceparents_.str(), errors_.str(), payloads_.str(),
                    replays_.str());
  }

 private:
  PgArray ids_, apps_, delays_, attempts_, exchanges_, routing_keys_, types_, traceparents_, errors_, payloads_,
      replays_;
};

OutboxRow ToRow(const pqxx::row& row) {
  return {.message_id = UuidOf(row[0]),
          .app = AppId(row[1].as<int64_t>()),
          .attempts = row[2].as<int>(),
          .replay_count = row[8].as<int>(),
          .exchange = OwnedText(row[3]),
          .routing_key = OwnedText(row[4]),
          .type = OwnedText(row[5]),
          .traceparent = OwnedText(row[6]),
          .payload = BytesOf(row[7])};
}

}  // namespace

PostgresOutboxReader::PostgresOutboxReader(PgOptions options, Lane lane)
    : lane_(lane),
      prepare_take_sql_(absl::Substitute(kPrepareTake, ToString(lane))),
      defer_sql_(absl::Substitute(kDefer, ToString(lane))),
      release_sql_(absl::Substitute(kRelease, ToString(lane))),
      session_(std::move(options)) {}
PostgresOutboxReader::~PostgresOutboxReader() { Drop(); }

void PostgresOutboxReader::End(const char* command) {
  transaction_->exec(command);
  transaction_.reset();
}

void PostgresOutboxReader::Drop() {
  transaction_.reset();
  is_prepared_ = false;
  session_.Disconnect();
}

absl::Status PostgresOutboxReader::Guarded(const std::function<void(pqxx::connection&)>& body) {
  if (!session_.IsConnected()) {
    // Another connection has no hold on the rows that were taken with this one.
    const bool lost_rows = transaction_ != nullptr;
    Drop();
    if (lost_rows) return error::BackendUnavailable("postgresql", "the connection with the taken rows was lost");
  }
  ASSIGN_OR_RETURN(pqxx::connection * connection, session_.Connect());
  try {
    const WatchedSocket::Call call = session_.WatchCall();
    body(*connection);
    return absl::OkStatus();
  } catch (...) {
    absl::Status status = session_.Describe(std::current_exception()).status;
    Drop();
    return status;
  }
}

absl::StatusOr<std::vector<OutboxRow>> PostgresOutboxReader::Take(int limit) {
  const absl::Duration now = Monotonic();
  const bool from_the_start = now >= next_start_;
  const Uuid floor = from_the_start ? Uuid() : floor_;
  std::vector<OutboxRow> rows;
  RETURN_IF_ERROR(Guarded([&](pqxx::connection& connection) {
    transaction_ = std::make_unique<pqxx::nontransaction>(connection);
    if (!std::exchange(is_prepared_, true)) transaction_->exec(prepare_take_sql_);
    // Begun in the same round trip.
    const pqxx::result taken =
        transaction_->exec(absl::Substitute("BEGIN; EXECUTE take ($0, '$1')", limit, floor.ToString()));
    rows.reserve(taken.size());
    for (const auto& row : taken) rows.push_back(ToRow(row));
    if (rows.empty()) End("ROLLBACK");
  }));
  if (from_the_start) {
    next_start_ = now + kStartInterval;
    if (!rows.empty()) floor_ = Uuid7Floor(rows.front().message_id.time() - kFloorMargin);
  }
  return rows;
}

absl::Status PostgresOutboxReader::Settle(absl::Span<const Failure> failures) {
  if (transaction_ == nullptr) return absl::OkStatus();
  return Guarded([&](pqxx::connection&) {
    if (!failures.empty()) {
      DeferColumns columns;
      for (const Failure& failure : failures) columns.Add(failure);
      columns.Execute(session_, *transaction_, {"defer", defer_sql_.c_str()});
    }
    End("COMMIT");
  });
}

absl::Status PostgresOutboxReader::Release() {
  if (transaction_ == nullptr) return absl::OkStatus();
  return Guarded([&](pqxx::connection&) { End("ROLLBACK"); });
}

absl::StatusOr<int> PostgresOutboxReader::ReleaseDue(int limit) {
  int released = 0;
  RETURN_IF_ERROR(Guarded([&](pqxx::connection& connection) {
    pqxx::nontransaction transaction(connection);
    released =
        static_cast<int>(session_.Execute(transaction, {"release", release_sql_.c_str()}, limit).affected_rows());
    released += ReleaseDueRows(session_, transaction, lane_, std::min(limit, kMostSchedules));
  }));
  // They are old.
  if (released > 0) next_start_ = absl::ZeroDuration();
  return released;
}

}  // namespace carillon
