#include "carillon/postgres/digest_store.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/trail_json.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

constexpr PgStatement kRead = {"read_digest", R"sql(
  SELECT d.payload
  FROM digests g JOIN digest_entries e ON e.digest_id = g.digest_id
  JOIN deliveries d ON d.notification_id = e.notification_id AND d.delivery_id = e.delivery_id
    AND d.retention_days = e.retention_days AND d.state = 'held' AND d.payload IS NOT NULL
  WHERE g.digest_id = $1 AND g.app_id = $2 AND g.closed_at IS NULL
  ORDER BY e.delivery_id DESC LIMIT $3
)sql"};

// Whoever adds to it meanwhile was before this, and is seen by the next statement, or
// waits until the end, and begins the next digest if this one is closed then.
constexpr PgStatement kLock = {"lock_digest",
                               "SELECT FROM digests WHERE digest_id = $1 AND closed_at IS NULL FOR UPDATE"};

// What has ended by itself is no member any more, entered or not. Members that are told
// with the digest are neither counted nor told of as sent: what is sent is the digest.
constexpr char kEndMembers[] = R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::smallint[], $5::text[], $6::text[], $7::jsonb[])
      AS rows (notification_id, delivery_id, retention_days, state, detail, trail)
    ORDER BY notification_id, delivery_id
  ), taken AS MATERIALIZED (
    DELETE FROM digest_entries e USING input WHERE e.digest_id = $1 AND e.delivery_id = input.delivery_id
    RETURNING e.delivery_id
  ), updated AS MATERIALIZED (
    UPDATE deliveries d
    SET state = input.state, detail = input.detail, trail = newest_trail(d.trail, input.trail),
        touched_at = clock_timestamp(), finished_at = clock_timestamp(), payload = NULL
    FROM input JOIN taken USING (delivery_id)
    WHERE d.notification_id = input.notification_id AND d.delivery_id = input.delivery_id
      AND d.retention_days = input.retention_days AND d.state = 'held'
    RETURNING d.app_id, d.notification_id, d.delivery_id, d.retention_days, d.recipient_id, d.lane, d.type, d.channel,
              d.state, d.detail
  ), ended AS MATERIALIZED (
    SELECT *, false AS counted FROM updated
  ), changed AS MATERIALIZED (
    SELECT *, NULL::text AS provider, NULL::text AS provider_message_id, NULL::text AS code
    FROM updated WHERE state <> 'sent'
  )
)sql";

constexpr char kCountMembers[] = R"sql(
  SELECT (SELECT count(*) FROM updated) AS ended,
         EXISTS (SELECT FROM digest_entries e
                 JOIN deliveries d ON d.notification_id = e.notification_id AND d.delivery_id = e.delivery_id
                   AND d.retention_days = e.retention_days AND d.state = 'held'
                 WHERE e.digest_id = $1 AND e.delivery_id NOT IN (SELECT delivery_id FROM input)) AS others
)sql";

constexpr PgStatement kClose = {"close_digest", R"sql(
  WITH closed AS (
    UPDATE digests SET closed_at = clock_timestamp(), notification_id = $2 WHERE digest_id = $1
  ), left_behind AS (
    DELETE FROM digest_entries WHERE digest_id = $1
  )
  DELETE FROM schedules WHERE message_id = $1 AND cause = 'digest'
)sql"};

constexpr PgStatement kGoOn = {"go_on_with_digest",
                               "UPDATE schedules SET due_at = now() WHERE message_id = $1 AND cause = 'digest'"};

// It waits for nothing any more.
constexpr PgStatement kForget = {"forget_digest", "DELETE FROM schedules WHERE message_id = $1 AND cause = 'digest'"};

// As one that was accepted at the door.
constexpr PgStatement kSend = {"send_digest", R"sql(
  WITH stored AS (
    INSERT INTO notifications (notification_id, app_id, created_at, expires_at, retention_days, lane, type,
                               recipient_id, channels, data)
    VALUES ($1, $2, to_timestamp($3::bigint / 1e6::float8), to_timestamp($4::bigint / 1e6::float8), $5, $6, $7,
            $8, $9, $10)
  )
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  VALUES ($1, $2, $6, $11, $12, $7, ($13::bytea[])[1])
)sql"};

struct EndedMembers {
  size_t ended = 0;
  bool others = false;  // Some are left in it.
};

EndedMembers EndMembers(PgSession& session, pqxx::transaction_base& transaction, const DigestClosing& closing) {
  static const std::string sql = absl::StrCat(kEndMembers, kCloseNotifications, kCountAndTell, kCountMembers);
  static const PgStatement kEnd = {"end_digest_members", sql.c_str()};
  PgArray notifications, ids, retentions, states, details, trails;
  for (const auto& [delivery, fate] : closing.members) {
    notifications.Add(delivery->item.id);
    ids.Add(delivery->id);
    retentions.Add(delivery->item.retention_days);
    states.Add(ToString(fate.state));
    details.AddOrNull(fate.detail);
    fate.trail.has_value() ? trails.Add(EncodeTrail(*fate.trail)) : trails.AddNull();
  }
  const pqxx::result rows = session.Execute(transaction, kEnd, closing.digest_id.ToString(), notifications.str(),
                                            ids.str(), retentions.str(), states.str(), details.str(), trails.str());
  return {rows[0]["ended"].as<size_t>(), rows[0]["others"].as<bool>()};
}

void Send(PgSession& session, pqxx::transaction_base& transaction, const NewNotification& item) {
  const Notification& n = item.notification;
  const std::string expires = n.expire_time.has_value() ? absl::StrCat(absl::ToUnixMicros(*n.expire_time)) : "";
  session.Execute(transaction, kSend, n.id.ToString(), n.app.value(), absl::ToUnixMicros(n.create_time),
                  OrNull(expires), n.retention_days, std::string(ToString(n.lane)), n.type, n.recipient.value(),
                  ChannelsLiteral(n.channels), n.data_json, item.exchange, item.routing_key,
                  BytesLiteral(item.envelope));
}

DigestResult CloseLocked(PgSession& session, pqxx::transaction_base& transaction, const DigestClosing& closing) {
  const EndedMembers members = EndMembers(session, transaction, closing);
  if (members.ended != closing.members.size() || (members.others && !closing.more)) return DigestResult::kChanged;
  const std::string id = closing.digest_id.ToString();
  if (members.others) {
    session.Execute(transaction, kGoOn, id);
  } else {
    const std::string notification =
        closing.notification.has_value() ? closing.notification->notification.id.ToString() : "";
    session.Execute(transaction, kClose, id, OrNull(notification));
  }
  if (closing.notification.has_value()) Send(session, transaction, *closing.notification);
  return DigestResult::kDone;
}

}  // namespace

absl::StatusOr<DigestContents> PostgresDigestStore::Read(const DueDigest& digest, int limit) {
  std::vector<std::string> payloads;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    payloads.clear();
    for (const auto& row : session.Execute(transaction, kRead, digest.id.ToString(), digest.app.value(), limit + 1)) {
      payloads.push_back(BytesOf(row[0]));
    }
  }));
  DigestContents contents;
  contents.more = payloads.size() > static_cast<size_t>(limit);
  if (contents.more) payloads.pop_back();
  for (const std::string& payload : payloads) {
    ASSIGN_OR_RETURN(EnvelopeContents envelope, DecodeContents(payload));
    for (Delivery& member : envelope.deliveries) contents.members.push_back(std::move(member));
  }
  return contents;
}

absl::StatusOr<DigestResult> PostgresDigestStore::Close(const DigestClosing& closing) {
  DigestResult result = DigestResult::kGone;
  const absl::Status status = pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    const std::string id = closing.digest_id.ToString();
    result = DigestResult::kGone;
    if (session.Execute(transaction, kLock, id).empty()) {
      session.Execute(transaction, kForget, id);
      return absl::OkStatus();
    }
    result = CloseLocked(session, transaction, closing);
    // Taken back.
    return result == DigestResult::kChanged ? absl::CancelledError("the digest has changed") : absl::OkStatus();
  });
  if (absl::IsCancelled(status) && result == DigestResult::kChanged) return result;
  RETURN_IF_ERROR(status);
  return result;
}

}  // namespace carillon
