#include "carillon/postgres/watch_store.h"

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// Queued is accepted and gone from the outbox. Looked up one by one: the slices that an id
// can't be in are left out then.
constexpr PgStatement kLook = {"look_at_watched", R"sql(
  SELECT coalesce(
           (SELECT concat_ws('/', n.state, n.finished_at, n.released_at, n.open_deliveries, n.detail, jsonb_array_length(n.history),
                             n.finished_at IS NULL AND EXISTS (
                               SELECT FROM outbox o WHERE o.message_id = n.notification_id AND o.lane = n.lane))
            FROM notifications n WHERE n.notification_id = k.id AND n.app_id = k.app_id), '')
         || coalesce(
           (SELECT string_agg(concat_ws('/', '', d.delivery_id, d.state, d.hold_until, d.provider, d.detail, d.attempts), '')
            FROM (SELECT d.delivery_id, d.state, d.provider, d.detail, jsonb_array_length(d.attempts) AS attempts,
                         (SELECT max(w.due_at) FROM schedules w WHERE w.message_id = d.delivery_id AND d.state = 'held') AS hold_until
                  FROM deliveries d WHERE d.notification_id = k.id AND d.app_id = k.app_id
                  ORDER BY d.delivery_id) AS d), '')
  FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS k (id, app_id, position)
  ORDER BY k.position
)sql"};

}  // namespace

absl::StatusOr<std::vector<std::string>> PostgresWatchStore::Look(absl::Span<const WatchKey> keys) {
  PgArray ids, apps;
  for (const WatchKey& key : keys) {
    ids.Add(key.id);
    apps.Add(key.app.value());
  }
  std::vector<std::string> looks;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    looks.clear();
    for (const auto& row : session.Execute(transaction, kLook, ids.str(), apps.str())) {
      looks.push_back(OwnedText(row[0]));
    }
  }));
  return looks;
}

}  // namespace carillon
