#include "carillon/postgres/pressure_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/substitute.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// Counting a longer backlog would cost more than it tells: above it, what the server's statistics say.
constexpr int64_t kCountedRows = 100'000;

constexpr PgStatement kReport = {"report_queues", R"sql(
  INSERT INTO queue_reports AS old (queue, process, messages, items, retrying, newest_taken, updated_at)
  SELECT queue, process, messages, items, retrying, timestamptz 'epoch' + newest_us * interval '1 microsecond', clock_timestamp()
  FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
       AS told (queue, process, messages, items, retrying, newest_us)
  ON CONFLICT (queue, process) DO UPDATE SET
    messages = EXCLUDED.messages, items = EXCLUDED.items, retrying = EXCLUDED.retrying,
    newest_taken = EXCLUDED.newest_taken, updated_at = EXCLUDED.updated_at
)sql"};

constexpr PgStatement kForgetReports = {"forget_queue_reports", R"sql(
  DELETE FROM queue_reports WHERE updated_at < clock_timestamp() - $1::bigint * interval '1 microsecond'
)sql"};

// Each part has the same columns: what it is, a name, a text, five numbers.
constexpr absl::string_view kReportsPart = R"sql(
  SELECT 'report' AS kind, queue AS name, process AS detail, messages AS first, items AS second, retrying AS third,
         (extract(epoch FROM newest_taken) * 1e6)::bigint AS fourth,
         (updated_at > clock_timestamp() - interval '10 seconds')::int::bigint AS fifth
  FROM queue_reports
)sql";

constexpr absl::string_view kDeadPart = R"sql(
  UNION ALL
  SELECT 'dead', asked.queue, NULL,
         (SELECT count(*) FROM (SELECT FROM dead_letters d WHERE d.queue = asked.queue AND d.state = 'dead' LIMIT $0) AS counted),
         NULL, NULL, NULL, NULL
  FROM unnest($$1::text[]) AS asked (queue)
)sql";

constexpr absl::string_view kBreakersPart = R"sql(
  UNION ALL
  (SELECT 'breaker', a.app_key, h.channel || ' ' || h.lane || ' ' || h.breaker || ' ' || h.name || E'\n' || coalesce(h.error, ''),
         h.app_id, h.misconfigured::int::bigint, (extract(epoch FROM h.since) * 1e6)::bigint,
         (extract(epoch FROM h.retry_at) * 1e6)::bigint, NULL
  FROM provider_health h JOIN apps a USING (app_id) WHERE h.breaker <> 'closed'
  ORDER BY h.since LIMIT $0)
)sql";

// How old: of the row that is published next, and of the oldest one that waits after a failure.
constexpr absl::string_view kOutboxPart = R"sql(
  UNION ALL
  SELECT 'outbox', '$0', NULL,
         (SELECT count(*) FROM (SELECT FROM outbox_$0_ready LIMIT $1) AS counted),
         (SELECT coalesce(nullif(pg_stat_get_live_tuples(oid), 0), reltuples::bigint) FROM pg_class
          WHERE oid = 'outbox_$0_ready'::regclass),
         (SELECT count(*) FROM (SELECT FROM outbox_$0_deferred LIMIT $1) AS counted),
         (SELECT coalesce(nullif(pg_stat_get_live_tuples(oid), 0), reltuples::bigint) FROM pg_class
          WHERE oid = 'outbox_$0_deferred'::regclass),
         (extract(epoch FROM greatest(
            clock_timestamp() - (SELECT greatest(uuid_time(message_id), available_at) FROM outbox_$0_ready ORDER BY message_id LIMIT 1),
            clock_timestamp() - (SELECT uuid_time(message_id) FROM outbox_$0_deferred ORDER BY message_id LIMIT 1))) * 1e6)::bigint
)sql";

const std::string& ReadSql() {
  static const auto* const sql = [] {
    auto* text = new std::string(kReportsPart);
    absl::StrAppend(text, absl::Substitute(kDeadPart, limits::kCountedDeadLetters));
    absl::StrAppend(text, absl::Substitute(kBreakersPart, limits::kMaxBreakersShown));
    for (const Lane lane : kAllLanes)
      absl::StrAppend(text, absl::Substitute(kOutboxPart, ToString(lane), kCountedRows));
    return text;
  }();
  return *sql;
}

QueueReport ToReport(const pqxx::row& row) {
  QueueReport report{.queue = OwnedText(row["name"]),
                     .process = OwnedText(row["detail"]),
                     .messages = row["first"].as<int64_t>(),
                     .items = row["second"].as<int64_t>(),
                     .retrying = row["third"].as<int64_t>(),
                     .newest_taken = {},
                     .live = row["fifth"].as<int64_t>() != 0};
  if (!row["fourth"].is_null()) report.newest_taken = TimeOf(row["fourth"]);
  return report;
}

OutboxStats ToOutbox(const pqxx::row& row) {
  OutboxStats stats{.lane = ParseLane(Text(row["name"])).value_or(Lane::kSocial),
                    .rows = row["first"].as<int64_t>(),
                    .deferred = row["third"].as<int64_t>(),
                    .oldest_age = {}};
  if (stats.rows >= kCountedRows) stats.rows = std::max(stats.rows, row["second"].as<int64_t>());
  if (stats.deferred >= kCountedRows) stats.deferred = std::max(stats.deferred, row["fourth"].as<int64_t>());
  if (!row["fifth"].is_null()) {
    stats.oldest_age = std::max(absl::ZeroDuration(), absl::Microseconds(row["fifth"].as<int64_t>()));
  }
  return stats;
}

// The words before the line's end are of closed sets, but for the provider's name.
OpenBreaker ToBreaker(const pqxx::row& row) {
  const std::string text = OwnedText(row["detail"]);
  const size_t line = text.find('\n');
  const std::vector<std::string> words = absl::StrSplit(text.substr(0, line), absl::MaxSplits(' ', 3));
  OpenBreaker breaker{.app_key = OwnedText(row["name"]), .health = {}};
  breaker.health = {.app = AppId(row["first"].as<int64_t>()),
                    .channel = ParseChannel(words[0]).value_or(Channel::kEmail),
                    .name = words[3],
                    .lane = ParseLane(words[1]).value_or(Lane::kSocial),
                    .breaker = ParseBreakerState(words[2]).value_or(BreakerState::kOpen),
                    .misconfigured = row["second"].as<int64_t>() != 0,
                    .error = text.substr(line + 1),
                    .since = TimeOf(row["third"]),
                    .retry_time = {}};
  if (!row["fourth"].is_null()) breaker.health.retry_time = TimeOf(row["fourth"]);
  return breaker;
}

}  // namespace

absl::Status PostgresPressureStore::Report(absl::Span<const QueueReport> reports) {
  if (reports.empty()) return absl::OkStatus();
  PgArray queues, processes, messages, items, retrying, newest;
  for (const QueueReport& report : reports) {
    queues.Add(report.queue);
    processes.Add(report.process);
    messages.Add(report.messages);
    items.Add(report.items);
    retrying.Add(report.retrying);
    report.newest_taken.has_value() ? newest.Add(*report.newest_taken) : newest.AddNull();
  }
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kReport, queues.str(), processes.str(), messages.str(), items.str(), retrying.str(),
                    newest.str());
  });
}

absl::StatusOr<PressureFacts> PostgresPressureStore::Read(absl::Span<const std::string> queues) {
  static const PgStatement kRead = {"read_pressure", ReadSql().c_str()};
  PgArray names;
  for (const std::string& queue : queues) names.Add(queue);
  PressureFacts facts;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    facts = {};
    for (const auto& row : session.Execute(transaction, kRead, names.str())) {
      const absl::string_view kind = Text(row["kind"]);
      if (kind == "report") facts.reports.push_back(ToReport(row));
      if (kind == "outbox") facts.outbox.push_back(ToOutbox(row));
      if (kind == "dead") facts.dead[OwnedText(row["name"])] = row["first"].as<int64_t>();
      if (kind == "breaker") facts.breakers.push_back(ToBreaker(row));
    }
  }));
  return facts;
}

absl::StatusOr<int> PostgresPressureStore::ForgetReports(absl::Duration age) {
  int forgotten = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    forgotten =
        static_cast<int>(session.Execute(transaction, kForgetReports, absl::ToInt64Microseconds(age)).affected_rows());
  }));
  return forgotten;
}

}  // namespace carillon
