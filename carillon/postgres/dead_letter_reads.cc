// What admins see of dead letters, and what is forgotten of them.
#include <limits>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/dead_letter_filter.h"
#include "carillon/postgres/dead_letter_store.h"

namespace carillon {
namespace {

constexpr absl::string_view kColumns =
    "d.dead_letter_id, d.app_id, d.notification_id, d.delivery_id, d.queue, d.lane, d.message_id, d.type, d.exchange,"
    " d.routing_key, d.reason, d.error, d.provider, d.traceparent, d.retry_count, d.replay_count,"
    " (extract(epoch FROM d.dead_at) * 1e6)::bigint AS dead_us, length(d.payload) AS payload_bytes, a.app_key";
constexpr absl::string_view kFrom = " FROM dead_letters d LEFT JOIN apps a ON a.app_id = d.app_id ";

constexpr absl::string_view kSummarize =
    "SELECT d.lane, d.queue, d.type, d.error_kind, d.reason, d.provider, count(*) AS count,"
    " (extract(epoch FROM min(d.dead_at)) * 1e6)::bigint AS oldest_us,"
    " (extract(epoch FROM max(d.dead_at)) * 1e6)::bigint AS newest_us, sum(count(*)) OVER () AS total"
    " FROM dead_letters d WHERE ";

constexpr PgStatement kCount = {"count_dead_letters", R"sql(
  SELECT (SELECT count(*) FROM (SELECT FROM dead_letters d WHERE d.queue = asked.queue AND d.state = 'dead' LIMIT $2) AS counted)
  FROM unnest($1::text[]) WITH ORDINALITY AS asked (queue, position) ORDER BY position
)sql"};

constexpr PgStatement kForget = {"forget_dead_letters", R"sql(
  DELETE FROM dead_letters WHERE dead_letter_id IN (
    SELECT dead_letter_id FROM dead_letters
    WHERE state <> 'dead' AND greatest(dead_at, replayed_at) < to_timestamp($1::bigint / 1e6::float8)
    ORDER BY greatest(dead_at, replayed_at) LIMIT $2 FOR UPDATE SKIP LOCKED)
)sql"};

DeadLetter ToDeadLetter(const pqxx::row& row) {
  DeadLetter letter;
  letter.id = row["dead_letter_id"].as<int64_t>();
  if (!row["app_id"].is_null()) letter.app = AppId(row["app_id"].as<int64_t>());
  if (!row["notification_id"].is_null()) letter.notification_id = UuidOf(row["notification_id"]);
  if (!row["delivery_id"].is_null()) letter.delivery_id = UuidOf(row["delivery_id"]);
  letter.queue = OwnedText(row["queue"]);
  letter.lane = OwnedText(row["lane"]);
  letter.message_id = OwnedText(row["message_id"]);
  letter.type = OwnedText(row["type"]);
  letter.exchange = OwnedText(row["exchange"]);
  letter.routing_key = OwnedText(row["routing_key"]);
  letter.reason = OwnedText(row["reason"]);
  letter.error = OwnedText(row["error"]);
  letter.provider = OwnedText(row["provider"]);
  letter.traceparent = OwnedText(row["traceparent"]);
  letter.retry_count = row["retry_count"].as<int>();
  letter.replay_count = row["replay_count"].as<int>();
  letter.dead_time = TimeOf(row["dead_us"]);
  letter.payload_bytes = row["payload_bytes"].as<int64_t>();
  letter.app_key = OwnedText(row["app_key"]);
  return letter;
}

DeadLetter WithPayload(const pqxx::row& row) {
  DeadLetter letter = ToDeadLetter(row);
  letter.payload = BytesOf(row["payload"]);
  return letter;
}

DeadLetterGroup ToGroup(const pqxx::row& row) {
  return {.lane = OwnedText(row["lane"]),
          .queue = OwnedText(row["queue"]),
          .type = OwnedText(row["type"]),
          .error_kind = OwnedText(row["error_kind"]),
          .reason = OwnedText(row["reason"]),
          .provider = OwnedText(row["provider"]),
          .count = row["count"].as<int64_t>(),
          .oldest = TimeOf(row["oldest_us"]),
          .newest = TimeOf(row["newest_us"])};
}

}  // namespace

absl::StatusOr<std::vector<DeadLetter>> PostgresDeadLetterStore::List(const ListQuery& query) {
  const int64_t before = query.older_than.value_or(std::numeric_limits<int64_t>::max());
  std::vector<DeadLetter> letters;
  RETURN_IF_ERROR(pool_->Run([&](PgSession&, pqxx::transaction_base& transaction) {
    letters.clear();
    const std::string sql = absl::StrCat("SELECT ", kColumns, query.with_payload ? ", d.payload" : "", kFrom, "WHERE ",
                                         FilterCondition(transaction, query.filter),
                                         " AND d.dead_letter_id < $1 ORDER BY d.dead_letter_id DESC LIMIT $2");
    for (const auto& row : transaction.exec_params(sql, before, query.limit)) {
      letters.push_back(query.with_payload ? WithPayload(row) : ToDeadLetter(row));
    }
  }));
  return letters;
}

absl::StatusOr<DeadLetter> PostgresDeadLetterStore::Get(int64_t id) {
  static const std::string sql = absl::StrCat("SELECT ", kColumns, ", d.payload", kFrom, "WHERE d.dead_letter_id = $1");
  static const PgStatement kGet = {"get_dead_letter", sql.c_str()};
  std::optional<DeadLetter> letter;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows = session.Execute(transaction, kGet, id);
    if (!rows.empty()) letter = WithPayload(rows[0]);
  }));
  if (!letter.has_value()) return error::NotFound("dead letter", absl::StrCat(id));
  return *std::move(letter);
}

absl::StatusOr<DeadLetterStore::Summary> PostgresDeadLetterStore::Summarize(const DeadLetterFilter& filter, int limit) {
  Summary summary;
  RETURN_IF_ERROR(pool_->Run([&](PgSession&, pqxx::transaction_base& transaction) {
    summary = {};
    const std::string sql = absl::StrCat(kSummarize, FilterCondition(transaction, filter),
                                         " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY count DESC, d.queue, d.type LIMIT $1");
    for (const auto& row : transaction.exec_params(sql, limit)) {
      summary.groups.push_back(ToGroup(row));
      summary.total = row["total"].as<int64_t>();
    }
  }));
  return summary;
}

absl::StatusOr<std::vector<int64_t>> PostgresDeadLetterStore::Count(absl::Span<const std::string> queues,
                                                                    int64_t most) {
  PgArray names;
  for (const std::string& queue : queues) names.Add(queue);
  std::vector<int64_t> counts;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    counts.clear();
    for (const auto& row : session.Execute(transaction, kCount, names.str(), most)) {
      counts.push_back(row[0].as<int64_t>());
    }
  }));
  return counts;
}

absl::StatusOr<int> PostgresDeadLetterStore::Forget(absl::Time over_before, int limit) {
  int forgotten = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    forgotten =
        static_cast<int>(session.Execute(transaction, kForget, absl::ToUnixMicros(over_before), limit).affected_rows());
  }));
  return forgotten;
}

}  // namespace carillon
