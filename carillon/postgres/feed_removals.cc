#include "carillon/postgres/feed_removals.h"

#include "carillon/domain/limits.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

constexpr PgStatement kReadRemovals = {"read_removals", R"sql(
  SELECT asked.position, r.seq, r.notification_id
  FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])
       WITH ORDINALITY AS asked (app_id, recipient_id, after_seq, up_to_seq, position),
  LATERAL (SELECT seq, notification_id FROM feed_removals r
           WHERE r.app_id = asked.app_id AND r.recipient_id = asked.recipient_id
             AND r.seq > asked.after_seq AND r.seq <= asked.up_to_seq
           ORDER BY r.seq LIMIT $5) AS r
  ORDER BY asked.position, r.seq
)sql"};

// The longest class, and the time that its slices may overhang. Heads are locked
// in the order of recipients, as everywhere.
constexpr PgStatement kExpireRemovals = {"expire_removals", R"sql(
  WITH old AS MATERIALIZED (
    SELECT app_id, recipient_id, seq FROM feed_removals
    WHERE removed_at <= to_timestamp($1::bigint / 1e6::float8) - interval '400 days'
    ORDER BY removed_at LIMIT $2 FOR UPDATE SKIP LOCKED
  ), heads AS MATERIALIZED (
    SELECT h.app_id, h.recipient_id, lost.seq
    FROM (SELECT app_id, recipient_id, max(seq) AS seq FROM old GROUP BY app_id, recipient_id) AS lost
    JOIN feed_heads h USING (app_id, recipient_id)
    ORDER BY h.app_id, h.recipient_id FOR UPDATE OF h
  ), raised AS (
    UPDATE feed_heads h SET floor_seq = greatest(h.floor_seq, heads.seq)
    FROM heads WHERE h.app_id = heads.app_id AND h.recipient_id = heads.recipient_id
  )
  DELETE FROM feed_removals r USING old
  WHERE r.app_id = old.app_id AND r.recipient_id = old.recipient_id AND r.seq = old.seq
)sql"};

void CutAfterLast(Backlog& backlog) {
  backlog.complete_up_to = backlog.removals.back().seq;
  std::erase_if(backlog.items, [&](const FeedItem& item) { return item.seq > backlog.complete_up_to; });
}

}  // namespace

void ReadRemovals(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const BacklogRequest> requests,
                  std::vector<Backlog>& backlogs) {
  PgArray apps, recipients, after, up_to;
  std::vector<Backlog*> asked;
  for (size_t i = 0; i < requests.size(); ++i) {
    const BacklogRequest& request = requests[i];
    if (request.after_seq <= 0 || backlogs[i].complete_up_to <= request.after_seq) continue;
    apps.Add(request.key.app.value());
    recipients.Add(request.key.recipient.value());
    after.Add(request.after_seq);
    up_to.Add(backlogs[i].complete_up_to);
    asked.push_back(&backlogs[i]);
  }
  if (asked.empty()) return;
  for (const auto& row : session.Execute(transaction, kReadRemovals, apps.str(), recipients.str(), after.str(),
                                         up_to.str(), limits::kBacklogPage)) {
    asked[row["position"].as<size_t>() - 1]->removals.push_back(
        {.seq = row["seq"].as<int64_t>(), .id = UuidOf(row["notification_id"])});
  }
  for (Backlog* const backlog : asked) {
    if (backlog->removals.size() == static_cast<size_t>(limits::kBacklogPage)) CutAfterLast(*backlog);
  }
}

int ExpireRemovals(PgSession& session, pqxx::transaction_base& transaction, absl::Time now, int limit) {
  return static_cast<int>(
      session.Execute(transaction, kExpireRemovals, absl::ToUnixMicros(now), limit).affected_rows());
}

}  // namespace carillon
