#include "client/bench/star_graph.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon::bench {
namespace {

constexpr int64_t kChunk = 50'000;
constexpr absl::Duration kStatementTimeout = absl::Minutes(9);
// Between the clocks of this machine and of the database.
constexpr absl::Duration kClockSkew = absl::Minutes(1);

// $1: the app's key, $2: the star, $3: the prefix of ids, $4 and $5: the first and the last number.
constexpr const char* kMakeRows = R"sql(
  WITH fans AS MATERIALIZED (
    SELECT a.app_id, coalesce(p.position, 0) AS position, $3 || lpad(number::text, 9, '0') AS id
    FROM apps a LEFT JOIN event_positions p USING (app_id), generate_series($4::bigint, $5::bigint) AS number
    WHERE a.app_key = $1
  ), heads AS (
    INSERT INTO feed_heads (app_id, recipient_id, event_position) SELECT app_id, id, position FROM fans ON CONFLICT DO NOTHING
  )
  INSERT INTO memberships (app_id, since_position, kind, group_id, member_id)
  SELECT app_id, 0, 'followers', $2, id FROM fans ON CONFLICT DO NOTHING
)sql";

constexpr const char* kCountFollowers = R"sql(
  SELECT count(*) FROM apps JOIN memberships m USING (app_id)
  WHERE app_key = $1 AND m.kind = 'followers' AND m.group_id = $2
)sql";

constexpr const char* kSkipShared = R"sql(
  UPDATE feed_heads h SET event_position = p.position
  FROM apps a, event_positions p, memberships m
  WHERE a.app_key = $1 AND p.app_id = a.app_id AND m.app_id = a.app_id AND m.kind = 'followers' AND m.group_id = $2
    AND h.app_id = a.app_id AND h.recipient_id = m.member_id AND h.event_position < p.position
)sql";

// $3: the event's object, $4: since when, in microseconds since 1970.
constexpr const char* kCountTold = R"sql(
  WITH told AS MATERIALIZED (
    SELECT f.recipient_id, count(*) AS times
    FROM apps JOIN feed_items f USING (app_id)
    WHERE app_key = $1 AND f.object_id = $3 AND f.notification_id >= uuid_floor(to_timestamp($4::bigint / 1e6))
    GROUP BY f.recipient_id
  ), fans AS MATERIALIZED (
    SELECT m.member_id FROM apps JOIN memberships m USING (app_id)
    WHERE app_key = $1 AND m.kind = 'followers' AND m.group_id = $2
  )
  SELECT count(*) FILTER (WHERE fans.member_id IS NOT NULL AND told.times = 1) AS once,
         count(*) FILTER (WHERE told.recipient_id IS NULL) AS missing,
         count(*) FILTER (WHERE fans.member_id IS NOT NULL AND told.times > 1) AS twice,
         count(*) FILTER (WHERE fans.member_id IS NULL) AS strangers
  FROM fans FULL JOIN told ON told.recipient_id = fans.member_id
)sql";

constexpr const char* kCountWrongHeads = R"sql(
  SELECT count(*)
  FROM apps JOIN feed_heads h USING (app_id) JOIN unnest($2::text[]) AS asked (recipient_id) USING (recipient_id)
  CROSS JOIN LATERAL (
    SELECT count(*) AS items, coalesce(max(f.seq), 0) AS last_seq,
           count(*) FILTER (WHERE f.seq > h.last_read_seq AND f.read_seq IS NULL) AS unread
    FROM feed_items f WHERE f.app_id = h.app_id AND f.recipient_id = h.recipient_id) AS seen
  WHERE app_key = $1 AND (h.last_seq <> greatest(seen.last_seq, h.marker_seq, h.floor_seq) OR h.unread <> seen.unread)
)sql";

}  // namespace

Star StarOf(int64_t followers, int number) {
  const std::string letter = number == 0 ? "" : absl::StrCat("-", std::string(1, static_cast<char>('a' + number)));
  return {.id = absl::StrCat("bench-star-", followers, letter),
          .fan_prefix = absl::StrCat("fan-", followers, letter, "-"),
          .followers = followers};
}

std::string FollowerId(const Star& star, int64_t number) { return absl::StrFormat("%s%09d", star.fan_prefix, number); }

std::vector<std::string> SomeFollowers(const Star& star, int64_t count, double share) {
  const int64_t taken = std::min(count, star.followers);
  std::vector<std::string> ids;
  if (taken == 0) return ids;
  const double step = static_cast<double>(star.followers) / static_cast<double>(taken);
  for (int64_t i = 0; i < taken; ++i) {
    ids.push_back(FollowerId(star, 1 + static_cast<int64_t>((static_cast<double>(i) + share) * step)));
  }
  return ids;
}

StarGraphs::StarGraphs(const BenchOptions& options)
    : app_key_(options.client.app_key),
      session_(
          {.url = options.database_url, .application_name = "carillon-bench", .statement_timeout = kStatementTimeout}) {
}

absl::StatusOr<bool> StarGraphs::Make(const Star& star) {
  ASSIGN_OR_RETURN(const int64_t followers, CountFollowers(star));
  if (followers == star.followers) return false;
  absl::FPrintF(stderr, "making %d followers of %s\n", star.followers, star.id);
  RETURN_IF_ERROR(MakeRows(star));
  // Or autovacuum would do it in the measurement, and the next checkpoint too.
  RETURN_IF_ERROR(Execute("VACUUM (ANALYZE) memberships, feed_heads"));
  RETURN_IF_ERROR(Execute("CHECKPOINT"));
  return true;
}

absl::Status StarGraphs::SkipShared(const Star& star) {
  int64_t skipped = 0;
  RETURN_IF_ERROR(session_.Run([&](pqxx::transaction_base& transaction) {
    skipped = static_cast<int64_t>(transaction.exec_params(kSkipShared, app_key_, star.id).affected_rows());
  }));
  if (skipped == 0) return absl::OkStatus();
  RETURN_IF_ERROR(Execute("VACUUM (ANALYZE) feed_heads"));
  return Execute("CHECKPOINT");
}

absl::StatusOr<Told> StarGraphs::CountTold(const Star& star, const std::string& object_id, absl::Time since) {
  // Our sessions do without, for their own short statements.
  RETURN_IF_ERROR(Execute("SET enable_hashjoin = on; SET work_mem = '256MB'"));
  Told told;
  RETURN_IF_ERROR(session_.Run([&](pqxx::transaction_base& transaction) {
    const pqxx::row row =
        transaction.exec_params1(kCountTold, app_key_, star.id, object_id, absl::ToUnixMicros(since - kClockSkew));
    told = {row["once"].as<int64_t>(), row["missing"].as<int64_t>(), row["twice"].as<int64_t>(),
            row["strangers"].as<int64_t>()};
  }));
  return told;
}

absl::StatusOr<int64_t> StarGraphs::CountWrongHeads(const std::vector<std::string>& recipients) {
  PgArray list;
  for (const std::string& recipient : recipients) list.Add(recipient);
  int64_t wrong = 0;
  RETURN_IF_ERROR(session_.Run([&](pqxx::transaction_base& transaction) {
    wrong = transaction.exec_params1(kCountWrongHeads, app_key_, list.str())[0].as<int64_t>();
  }));
  return wrong;
}

absl::Status StarGraphs::Execute(const char* sql) {
  return session_.Run([&](pqxx::transaction_base& transaction) { transaction.exec(sql); });
}

absl::StatusOr<int64_t> StarGraphs::CountFollowers(const Star& star) {
  int64_t followers = 0;
  RETURN_IF_ERROR(session_.Run([&](pqxx::transaction_base& transaction) {
    followers = transaction.exec_params1(kCountFollowers, app_key_, star.id)[0].as<int64_t>();
  }));
  return followers;
}

absl::Status StarGraphs::MakeRows(const Star& star) {
  for (int64_t first = 1; first <= star.followers; first += kChunk) {
    const int64_t last = std::min(first + kChunk - 1, star.followers);
    RETURN_IF_ERROR(session_.Run([&](pqxx::transaction_base& transaction) {
      transaction.exec_params(kMakeRows, app_key_, star.id, star.fan_prefix, first, last);
    }));
  }
  return absl::OkStatus();
}

}  // namespace carillon::bench
