#include "carillon/postgres/trip_store.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// Processes follow it. The first statement of every change: changes wait for one
// another here, before they have locked anything else.
constexpr PgStatement kMoveVersion = {"trips_move_version", "UPDATE catalogue_version SET version = version + 1"};

constexpr PgStatement kTrip = {"trip_senders", R"sql(
  INSERT INTO tripped_senders (app_id, count, limit_per_minute, tripped_at, sender_id)
  SELECT app_id, count, limit_per_minute, to_timestamp(tripped_us / 1e6::float8), sender_id
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[])
    AS rows (app_id, count, limit_per_minute, tripped_us, sender_id)
  ON CONFLICT (app_id, sender_id) DO NOTHING
)sql"};

constexpr PgStatement kKeepNewest = {"keep_newest_trips", R"sql(
  DELETE FROM tripped_senders t USING (
    SELECT app_id, sender_id, row_number() OVER (PARTITION BY app_id ORDER BY tripped_at DESC, sender_id) AS place
    FROM tripped_senders WHERE app_id = ANY ($1::bigint[])) AS ranked
  WHERE t.app_id = ranked.app_id AND t.sender_id = ranked.sender_id AND ranked.place > $2
)sql"};

constexpr PgStatement kList = {"list_trips", R"sql(
  SELECT a.app_key, t.app_id, t.sender_id, t.count, t.limit_per_minute,
         (extract(epoch FROM t.tripped_at) * 1e6)::bigint AS tripped_us
  FROM tripped_senders t JOIN apps a USING (app_id)
  WHERE $1 = '' OR a.app_key = $1
  ORDER BY t.tripped_at DESC, t.app_id, t.sender_id LIMIT $2
)sql"};

constexpr PgStatement kLift = {"lift_trip", R"sql(
  DELETE FROM tripped_senders t USING apps a WHERE t.app_id = a.app_id AND a.app_key = $1 AND t.sender_id = $2
)sql"};

constexpr PgStatement kHasApp = {"trips_has_app", "SELECT FROM apps WHERE app_key = $1"};

TrippedSender ToTrippedSender(const pqxx::row& row) {
  return {.app = AppId(row["app_id"].as<int64_t>()),
          .sender_id = OwnedText(row["sender_id"]),
          .count = row["count"].as<int64_t>(),
          .limit = row["limit_per_minute"].as<int64_t>(),
          .trip_time = TimeOf(row["tripped_us"]),
          .app_key = OwnedText(row["app_key"])};
}

}  // namespace

absl::Status PostgresTripStore::Trip(absl::Span<const TrippedSender> senders) {
  PgArray apps, counts, limits, times, ids;
  for (const TrippedSender& sender : senders) {
    apps.Add(sender.app.value());
    counts.Add(sender.count);
    limits.Add(sender.limit);
    times.Add(sender.trip_time);
    ids.Add(sender.sender_id);
  }
  return pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    session.Execute(transaction, kMoveVersion);
    session.Execute(transaction, kTrip, apps.str(), counts.str(), limits.str(), times.str(), ids.str());
    session.Execute(transaction, kKeepNewest, apps.str(), limits::kMaxTrippedSenders);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<TrippedSender>> PostgresTripStore::List(const std::string& app_key, int limit) {
  std::vector<TrippedSender> senders;
  bool has_app = true;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    senders.clear();
    has_app = app_key.empty() || !session.Execute(transaction, kHasApp, app_key).empty();
    for (const auto& row : session.Execute(transaction, kList, app_key, limit)) senders.push_back(ToTrippedSender(row));
  }));
  if (!has_app) return error::NotFound("app", app_key);
  return senders;
}

absl::StatusOr<bool> PostgresTripStore::Lift(const std::string& app_key, const std::string& sender_id) {
  bool lifted = false;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    session.Execute(transaction, kMoveVersion);
    if (session.Execute(transaction, kHasApp, app_key).empty()) return error::NotFound("app", app_key);
    lifted = session.Execute(transaction, kLift, app_key, sender_id).affected_rows() > 0;
    return absl::OkStatus();
  }));
  return lifted;
}

}  // namespace carillon
