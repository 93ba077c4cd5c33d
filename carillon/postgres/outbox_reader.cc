#include "carillon/postgres/outbox_reader.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {

namespace {

// Rows are moved between the parts by DELETE and INSERT: a reader that comes upon
// one that an UPDATE moved away would fail, where one that is gone is passed over.
constexpr absl::string_view kDefer =
    "WITH gone AS ("
    "  DELETE FROM outbox_$0_ready o USING unnest($$1::tid[], $$2::bigint[], $$3::text[]) AS f (location, delay, error)"
    "  WHERE o.ctid = f.location RETURNING o.*, f.delay, f.error)"
    "INSERT INTO outbox_$0_deferred (message_id, app_id, available_at, attempts, deferred, lane, exchange, "
    "routing_key, "
    "                                type, traceparent, last_error, payload)"
    "SELECT message_id, app_id, clock_timestamp() + delay * interval '1 millisecond', attempts + 1, true, lane, "
    "exchange, "
    "       routing_key, type, traceparent, error, payload FROM gone";

}  // namespace

std::string WakeChannel(Lane lane) { return absl::StrCat("carillon_outbox_", ToString(lane)); }

// Wakes whoever waits on the connection; the wake-up itself is all it says.
class PostgresOutboxReader::WakeReceiver : public pqxx::notification_receiver {
 public:
  using pqxx::notification_receiver::notification_receiver;
  void operator()(const std::string&, int) override {}
};

PostgresOutboxReader::PostgresOutboxReader(PgOptions options, Lane lane) : lane_(lane), session_(std::move(options)) {}
PostgresOutboxReader::~PostgresOutboxReader() { Drop(); }

void PostgresOutboxReader::Drop() {
  transaction_.reset();
  receiver_.reset();
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
    if (receiver_ == nullptr) receiver_ = std::make_unique<WakeReceiver>(*connection, WakeChannel(lane_));
    body(*connection);
    return absl::OkStatus();
  } catch (...) {
    absl::Status status = DescribePgException(std::current_exception()).status;
    Drop();
    return status;
  }
}

absl::StatusOr<std::vector<OutboxRow>> PostgresOutboxReader::Take(int limit) {
  static constexpr absl::string_view kTake =
      "SELECT ctid, message_id, app_id, attempts, exchange, routing_key, type, traceparent, payload "
      "FROM outbox_$0_ready ORDER BY message_id LIMIT $1 FOR UPDATE SKIP LOCKED";
  std::vector<OutboxRow> rows;
  RETURN_IF_ERROR(Guarded([&](pqxx::connection& connection) {
    row_locations_.clear();
    transaction_ = std::make_unique<pqxx::work>(connection);
    for (const auto& row : transaction_->exec(absl::Substitute(kTake, ToString(lane_), limit))) {
      row_locations_.push_back(OwnedText(row["ctid"]));
      rows.push_back({.message_id = UuidOf(row["message_id"]),
                      .app = AppId(row["app_id"].as<int64_t>()),
                      .attempts = row["attempts"].as<int>(),
                      .exchange = OwnedText(row["exchange"]),
                      .routing_key = OwnedText(row["routing_key"]),
                      .type = OwnedText(row["type"]),
                      .traceparent = OwnedText(row["traceparent"]),
                      .payload = BytesOf(row["payload"])});
    }
    if (rows.empty()) transaction_.reset();
  }));
  return rows;
}

absl::Status PostgresOutboxReader::Settle(absl::Span<const size_t> published, absl::Span<const Failure> failures) {
  if (transaction_ == nullptr) return absl::OkStatus();
  return Guarded([&](pqxx::connection&) {
    if (!published.empty()) {
      PgArray gone;
      for (const size_t index : published) gone.Add(row_locations_[index]);
      transaction_->exec_params(
          absl::Substitute("DELETE FROM outbox_$0_ready WHERE ctid = ANY ($$1::tid[])", ToString(lane_)), gone.str());
    }
    if (!failures.empty()) {
      PgArray rows, delays, errors;
      for (const Failure& failure : failures) {
        rows.Add(row_locations_[failure.index]);
        delays.Add(absl::ToInt64Milliseconds(failure.delay));
        errors.Add(StorableText(failure.error, limits::kMaxErrorBytes));
      }
      transaction_->exec_params(absl::Substitute(kDefer, ToString(lane_)), rows.str(), delays.str(), errors.str());
    }
    transaction_->commit();
    transaction_.reset();
  });
}

absl::StatusOr<int> PostgresOutboxReader::ReleaseDue(int limit) {
  // now() and not clock_timestamp(): an index can't be searched for what changes as it is read.
  static constexpr absl::string_view kRelease =
      "WITH due AS MATERIALIZED ("
      "  SELECT message_id FROM outbox_$0_deferred WHERE available_at <= now()"
      "  ORDER BY available_at LIMIT $1 FOR UPDATE SKIP LOCKED"
      "), gone AS ("
      "  DELETE FROM outbox_$0_deferred o USING due WHERE o.message_id = due.message_id RETURNING o.*)"
      "INSERT INTO outbox_$0_ready (message_id, app_id, available_at, attempts, lane, exchange, routing_key, type, "
      "                             traceparent, last_error, payload)"
      "SELECT message_id, app_id, available_at, attempts, lane, exchange, routing_key, type, traceparent, last_error, "
      "       payload FROM gone";
  int released = 0;
  RETURN_IF_ERROR(Guarded([&](pqxx::connection& connection) {
    pqxx::nontransaction transaction(connection);
    released = static_cast<int>(transaction.exec(absl::Substitute(kRelease, ToString(lane_), limit)).affected_rows());
  }));
  return released;
}

absl::Status PostgresOutboxReader::WaitForRows(absl::Duration time) {
  return Guarded([&](pqxx::connection& connection) {
    const int64_t microseconds = absl::ToInt64Microseconds(time);
    connection.await_notification(microseconds / 1'000'000, microseconds % 1'000'000);
  });
}

}  // namespace carillon
