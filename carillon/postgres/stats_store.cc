#include "carillon/postgres/stats_store.h"

#include <utility>

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

constexpr PgStatement kReadStats = {"read_stats", R"sql(
  SELECT day, type, channel,
         coalesce(sum(count) FILTER (WHERE kind = 'sent'), 0)::bigint AS sent,
         coalesce(sum(count) FILTER (WHERE kind = 'delivered'), 0)::bigint AS delivered,
         coalesce(sum(count) FILTER (WHERE kind = 'undelivered'), 0)::bigint AS undelivered,
         coalesce(sum(count) FILTER (WHERE kind = 'opened'), 0)::bigint AS opened,
         coalesce(sum(count) FILTER (WHERE kind = 'clicked'), 0)::bigint AS clicked,
         coalesce(sum(count) FILTER (WHERE kind = 'suppressed'), 0)::bigint AS suppressed,
         coalesce(sum(count) FILTER (WHERE kind = 'expired'), 0)::bigint AS expired,
         coalesce(sum(count) FILTER (WHERE kind = 'dead'), 0)::bigint AS dead
  FROM daily_stats
  WHERE app_id = $1 AND day BETWEEN $2::date AND $3::date AND ($4::text IS NULL OR type = $4)
    AND ($5::text IS NULL OR channel = $5) AND count <> 0
  GROUP BY day, type, channel
  ORDER BY day, type COLLATE "C", channel
  LIMIT $6
)sql"};

constexpr std::pair<const char*, int64_t DailyStats::*> kCounts[] = {
    {"sent", &DailyStats::sent},       {"delivered", &DailyStats::delivered},
    {"opened", &DailyStats::opened},   {"undelivered", &DailyStats::undelivered},
    {"clicked", &DailyStats::clicked}, {"suppressed", &DailyStats::suppressed},
    {"expired", &DailyStats::expired}, {"dead", &DailyStats::dead},
};

DailyStats ToStats(const pqxx::row& row) {
  DailyStats stats;
  (void)absl::ParseCivilTime(Text(row["day"]), &stats.day);
  stats.type = OwnedText(row["type"]);
  stats.channel = ParseChannel(Text(row["channel"])).value_or(Channel::kInApp);
  for (const auto& [name, count] : kCounts) stats.*count = row[name].as<int64_t>();
  return stats;
}

}  // namespace

absl::StatusOr<std::vector<DailyStats>> PostgresStatsStore::Read(const Query& query, int limit) {
  const std::string channel = query.channel.has_value() ? std::string(ToString(*query.channel)) : "";
  std::vector<DailyStats> stats;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    stats.clear();
    for (const auto& row :
         session.Execute(transaction, kReadStats, query.app.value(), absl::FormatCivilTime(query.from),
                         absl::FormatCivilTime(query.to), OrNull(query.type), OrNull(channel), limit)) {
      stats.push_back(ToStats(row));
    }
  }));
  return stats;
}

}  // namespace carillon
