#include "carillon/postgres/storage_monitor.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

// A slice counts if its table is there and attached, whatever `slices` says: somebody may
// have dropped it. Each class reaches to the end of the first slice that none follows.
constexpr char kMeasure[] = R"sql(
  WITH attached AS MATERIALIZED (
    SELECT s.parent, s.retention_days, s.starts_at, s.ends_at
    FROM slices s JOIN pg_class c ON c.oid = to_regclass(format('carillon.%I', s.slice_name)) AND c.relispartition
    WHERE s.ends_at > now()
  ), reach AS (
    SELECT parent, days,
           (SELECT min(a.ends_at) FROM attached a
            WHERE a.parent = class.parent AND a.retention_days = days AND NOT EXISTS (
              SELECT FROM attached n WHERE n.parent = a.parent AND n.retention_days = a.retention_days AND n.starts_at = a.ends_at))
             AS until,
           EXISTS (SELECT FROM attached a WHERE a.parent = class.parent AND a.retention_days = days AND a.starts_at <= now())
             AS covers_now
    FROM unnest(ARRAY['notifications', 'feed_items', 'deliveries']) AS class (parent), unnest(ARRAY[1, 7, 30, 365]) AS days
  ), held AS (
    SELECT xact_start AS since FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    UNION ALL
    SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()
  )
  SELECT (SELECT (min(CASE WHEN covers_now THEN extract(epoch FROM until - now()) ELSE 0 END) * 1e6)::bigint FROM reach),
         (SELECT (coalesce(max(extract(epoch FROM now() - since)), 0) * 1e6)::bigint FROM held)
)sql";

constexpr char kOutbox[] = R"sql(
  SELECT part.lane, sum(pg_stat_get_dead_tuples(c.oid))::bigint, sum(pg_total_relation_size(c.oid))::bigint
  FROM unnest(string_to_array($1, ',')) AS part (lane), unnest(ARRAY['ready', 'deferred']) AS state,
       LATERAL (SELECT to_regclass(format('carillon.outbox_%s_%s', part.lane, state))::oid AS oid) AS c
  GROUP BY part.lane
)sql";

std::string LaneNames() {
  std::string names;
  for (const Lane lane : kAllLanes) absl::StrAppend(&names, names.empty() ? "" : ",", ToString(lane));
  return names;
}

}  // namespace

absl::StatusOr<StorageFigures> PostgresStorageMonitor::Measure() {
  static constexpr PgStatement kMeasureStatement = {"measure_storage", kMeasure};
  static constexpr PgStatement kOutboxStatement = {"measure_outbox", kOutbox};
  StorageFigures figures;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    figures = {};
    const pqxx::row row = session.Execute(transaction, kMeasureStatement)[0];
    figures.partitions_ahead = absl::Microseconds(row[0].as<int64_t>());
    figures.oldest_transaction = absl::Microseconds(row[1].as<int64_t>());
    for (const auto& lane : session.Execute(transaction, kOutboxStatement, LaneNames())) {
      figures.outbox.push_back({.lane = ParseLane(lane[0].as<std::string>()).value_or(Lane::kSocial),
                                .dead_tuples = lane[1].as<int64_t>(),
                                .bytes = lane[2].as<int64_t>()});
    }
  }));
  return figures;
}

}  // namespace carillon
