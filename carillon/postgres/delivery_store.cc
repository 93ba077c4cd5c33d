#include "carillon/postgres/delivery_store.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/schedules.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

constexpr PgStatement kReadContacts = {"read_contacts", R"sql(
  SELECT asked.position, r.email IS NOT NULL AS has_email, r.phone IS NOT NULL AS has_phone, v.channel, v.device_id
  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (app_id, recipient_id, position)
  JOIN recipients r USING (app_id, recipient_id)
  LEFT JOIN devices v USING (app_id, recipient_id)
  ORDER BY asked.position, v.registered_at DESC
)sql"};

// Whoever comes a second time takes over: the one before has lost the message. The
// state is not asked for as deliveries_pending has it: the planner would read all of
// that index instead of the few keys.
constexpr PgStatement kClaim = {"claim_deliveries", R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::boolean[])
      WITH ORDINALITY AS rows (notification_id, delivery_id, retention_days, take_over, position)
    ORDER BY notification_id, delivery_id
  ), claimed AS (
    UPDATE deliveries d
    SET claim = d.claim + 1, interrupted = d.interrupted OR d.claimed_until IS NOT NULL, claimed_until = now() + $5::bigint * interval '1 microsecond', touched_at = clock_timestamp()
    FROM input
    WHERE d.notification_id = input.notification_id AND d.delivery_id = input.delivery_id
      AND d.retention_days = input.retention_days AND d.finished_at IS NULL AND d.state <> 'held'
      AND (d.claimed_until IS NULL OR d.claimed_until <= now() OR input.take_over)
    RETURNING input.position, d.claim, d.interrupted, d.app_id, d.recipient_id, d.channel, d.device_id, d.type, d.attempts
  )
  SELECT c.position, c.claim, c.interrupted, c.attempts, place.address, (extract(epoch FROM v.registered_at) * 1e6)::bigint AS registered_us,
         r.locale, a.default_locale,
         (SELECT s.reason FROM suppressions s
          WHERE s.app_id = c.app_id AND s.channel = c.channel AND s.type IN ('', c.type)
            AND s.address_hash = sha256(convert_to(lower(place.address), 'UTF8')) LIMIT 1) AS suppressed
  FROM claimed c
  JOIN apps a ON a.app_id = c.app_id
  LEFT JOIN recipients r ON r.app_id = c.app_id AND r.recipient_id = c.recipient_id
  LEFT JOIN devices v ON v.app_id = c.app_id AND v.recipient_id = c.recipient_id AND v.channel = c.channel AND v.device_id = c.device_id,
  LATERAL (SELECT CASE c.channel WHEN 'email' THEN r.email WHEN 'sms' THEN r.phone ELSE v.token END AS address) AS place
)sql"};

// The claim moves on, so that a repeat of this, or somebody who lost it, changes nothing.
// A receipt may have been quicker. One that it arrived has ended it: only the calls are
// added. One that this very call failed is applied: {early} is what it said, {failed}
// that there is one, {comes_back} that the handset is to be tried once more.
constexpr char kRecordUpdates[] = R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::jsonb[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::boolean[])
      AS rows (notification_id, delivery_id, retention_days, claim, new_state, new_detail, new_provider, new_message_id,
               code, new_attempts, hold_us, cause, dead_us, suppress_reason, address, may_resend)
    ORDER BY notification_id, delivery_id
  ), updated AS MATERIALIZED (
    UPDATE deliveries d
    SET state = CASE WHEN d.finished_at IS NOT NULL THEN d.state
                     WHEN {comes_back} THEN 'held'
                     WHEN {failed} THEN 'undelivered'
                     -- Once a provider had it, it can't be as if none ever had.
                     WHEN d.resent AND new_state IN ('suppressed', 'expired', 'dead') THEN 'undelivered'
                     ELSE new_state END,
        detail = CASE WHEN d.finished_at IS NOT NULL THEN d.detail
                      WHEN {failed} THEN nullif(concat_ws(': ', {early} ->> 'code', {early} ->> 'error'), '')
                      ELSE new_detail END,
        resent = d.resent OR d.finished_at IS NULL AND {comes_back},
        claim = d.claim + 1, claimed_until = NULL, touched_at = clock_timestamp(),
        provider = CASE WHEN d.finished_at IS NULL OR coalesce(d.provider_message_id = new_message_id, new_message_id IS NOT NULL)
                          THEN coalesce(new_provider, d.provider)
                        ELSE coalesce(d.provider, new_provider) END,
        provider_message_id = CASE WHEN d.finished_at IS NULL THEN coalesce(new_message_id, d.provider_message_id)
                                   ELSE coalesce(d.provider_message_id, new_message_id) END,
        attempts = newest_attempts(d.attempts, new_attempts),
        -- Until a call has said what became of it.
        interrupted = d.interrupted AND new_attempts IS NULL,
        finished_at = coalesce(d.finished_at, CASE WHEN new_state NOT IN ('pending', 'held') AND NOT {comes_back}
                                                   THEN clock_timestamp() END),
        payload = CASE WHEN new_state IN ('pending', 'held') OR {comes_back}
                            OR may_resend AND NOT d.resent AND NOT {failed} THEN d.payload END
    FROM input
    WHERE d.notification_id = input.notification_id AND d.delivery_id = input.delivery_id
      AND d.retention_days = input.retention_days AND d.claim = input.claim
      AND (d.finished_at IS NULL OR d.state = 'delivered')
    RETURNING d.app_id, d.notification_id, d.delivery_id, d.retention_days, d.recipient_id, d.device_id, d.lane, d.type,
              d.channel, d.state, d.detail, d.provider, d.provider_message_id, d.payload, input.code, input.hold_us,
              input.cause, input.dead_us, input.suppress_reason, input.address, d.state = 'delivered' AS had_ended,
              d.resent AND NOT (d.state = 'held' AND new_state = 'sent') AS counted,
              CASE WHEN new_state = 'sent' AND d.state IN ('held', 'undelivered')
                   THEN {early} END AS early,
              EXISTS (SELECT FROM jsonb_object_keys(d.early_receipts) AS told
                      WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(d.attempts) AS call
                                        WHERE call ->> 'message_id' = told)) AS told_of_another
  ), waiting AS (
    INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                           exchange, routing_key, type, payload)
    SELECT app_id, CASE WHEN early IS NOT NULL THEN now() + (early ->> 'resend_us')::bigint * interval '1 microsecond'
                        -- The receipt that is waited for has come: it did not arrive.
                        WHEN cause = 'receipt' AND told_of_another THEN now()
                        ELSE to_timestamp(hold_us / 1e6::float8) END,
           notification_id, delivery_id, retention_days, lane, CASE WHEN early IS NULL THEN cause ELSE 'resend' END, channel,
           recipient_id, 'carillon.delivery', lane || '.' || channel, type, payload
    FROM updated WHERE (hold_us IS NOT NULL OR early IS NOT NULL AND state = 'held') AND NOT had_ended
    ON CONFLICT (message_id) DO UPDATE SET due_at = EXCLUDED.due_at, cause = EXCLUDED.cause
  ), pruned AS (
    DELETE FROM devices v USING updated u
    WHERE u.dead_us IS NOT NULL AND v.app_id = u.app_id AND v.recipient_id = u.recipient_id AND v.channel = u.channel
      AND v.device_id = u.device_id AND v.registered_at <= to_timestamp(u.dead_us / 1e6::float8)
  ), suppressed AS (
    INSERT INTO suppressions (app_id, channel, address_hash, type, reason, address)
    SELECT DISTINCT ON (app_id, channel, lower(address)) app_id, channel, sha256(convert_to(lower(address), 'UTF8')), '',
           suppress_reason, address
    FROM updated WHERE suppress_reason IS NOT NULL AND address IS NOT NULL
    ON CONFLICT DO NOTHING
  ), ended AS MATERIALIZED (
    -- A provider had what a receipt came too early for.
    SELECT app_id, notification_id, delivery_id, retention_days, recipient_id, lane, type, channel,
           CASE WHEN early IS NULL THEN state ELSE 'sent' END AS state, provider, provider_message_id, code, detail, counted
    FROM updated WHERE (state NOT IN ('pending', 'held') OR early IS NOT NULL) AND NOT had_ended
  ), changed AS MATERIALIZED (
    SELECT app_id, notification_id, delivery_id, recipient_id, lane, type, channel, state, provider, provider_message_id, code
    FROM ended WHERE NOT (counted AND state = 'sent')
    UNION ALL
    SELECT app_id, notification_id, delivery_id, recipient_id, lane, type, channel, state, provider, provider_message_id,
           early ->> 'code'
    FROM updated WHERE early IS NOT NULL AND state = 'undelivered'
  )
)sql";

constexpr PgStatement kList = {"list_deliveries", R"sql(
  SELECT d.delivery_id, d.channel, d.state, d.device_id, d.provider, d.provider_message_id, d.detail, d.attempts,
         (extract(epoch FROM d.created_at) * 1e6)::bigint AS created_us,
         (extract(epoch FROM d.finished_at) * 1e6)::bigint AS finished_us,
         (extract(epoch FROM s.due_at) * 1e6)::bigint AS hold_us
  FROM deliveries d LEFT JOIN schedules s ON s.message_id = d.delivery_id
  WHERE d.notification_id = $2 AND d.app_id = $1
  ORDER BY d.created_at, d.delivery_id
)sql"};

constexpr PgStatement kRequeueIdle = {"requeue_deliveries", R"sql(
  WITH idle AS MATERIALIZED (
    SELECT d.notification_id, d.delivery_id, d.retention_days FROM deliveries d
    WHERE d.lane = $1 AND d.channel = $2 AND d.state = 'pending' AND d.touched_at < to_timestamp($3::bigint / 1e6::float8)
      AND (d.claimed_until IS NULL OR d.claimed_until < to_timestamp($3::bigint / 1e6::float8))
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.message_id = d.delivery_id AND o.lane = $1)
    ORDER BY d.delivery_id LIMIT $4 FOR UPDATE SKIP LOCKED
  ), touched AS (
    UPDATE deliveries d SET touched_at = clock_timestamp()
    FROM idle
    WHERE d.notification_id = idle.notification_id AND d.delivery_id = idle.delivery_id AND d.retention_days = idle.retention_days
    RETURNING d.delivery_id, d.app_id, d.lane, d.channel, d.type, d.payload
  )
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  SELECT delivery_id, app_id, lane, 'carillon.delivery', lane || '.' || channel, type, payload FROM touched
  ON CONFLICT DO NOTHING
)sql"};

// From app to app, however many wait for each.
constexpr PgStatement kAppsWithHeld = {"apps_with_held", R"sql(
  WITH RECURSIVE apps AS (
    (SELECT app_id FROM schedules WHERE cause = 'provider' ORDER BY app_id LIMIT 1)
    UNION ALL
    SELECT (SELECT s.app_id FROM schedules s WHERE s.cause = 'provider' AND s.app_id > apps.app_id ORDER BY s.app_id LIMIT 1)
    FROM apps WHERE apps.app_id IS NOT NULL
  )
  SELECT app_id FROM apps
  WHERE EXISTS (SELECT FROM schedules s
                WHERE s.cause = 'provider' AND s.app_id = apps.app_id AND s.channel = $1 AND s.lane = $2)
)sql"};

constexpr PgStatement kForgetKept = {"forget_kept", R"sql(
  WITH old AS MATERIALIZED (
    SELECT notification_id, delivery_id, retention_days FROM deliveries
    WHERE state = 'sent' AND payload IS NOT NULL AND finished_at < to_timestamp($1::bigint / 1e6::float8)
    ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
  )
  UPDATE deliveries d SET payload = NULL FROM old
  WHERE d.notification_id = old.notification_id AND d.delivery_id = old.delivery_id AND d.retention_days = old.retention_days
)sql"};

absl::string_view ToString(HoldCause cause) {
  switch (cause) {
    case HoldCause::kProvider:
      return "provider";
    case HoldCause::kReceipt:
      return "receipt";
    case HoldCause::kBusy:
      return "busy";
  }
  return "provider";
}

Json ToJson(const DeliveryAttempt& attempt) {
  Json json = {{"provider", attempt.provider},
               {"time_us", absl::ToUnixMicros(attempt.time)},
               {"outcome", ToString(attempt.outcome)},
               {"latency_ms", absl::ToInt64Milliseconds(attempt.latency)}};
  if (!attempt.code.empty()) json["code"] = StorableText(attempt.code, limits::kMaxErrorBytes);
  if (!attempt.error.empty()) json["error"] = StorableText(attempt.error, limits::kMaxErrorBytes);
  if (!attempt.provider_message_id.empty()) {
    json["message_id"] = StorableText(attempt.provider_message_id, limits::kMaxErrorBytes);
  }
  return json;
}

std::vector<DeliveryAttempt> AttemptsOf(const pqxx::field& field) {
  std::vector<DeliveryAttempt> attempts;
  if (field.is_null()) return attempts;
  for (const Json& json : Json::parse(Text(field))) {
    attempts.push_back(
        {.provider = json.value("provider", std::string()),
         .time = absl::FromUnixMicros(json.value("time_us", int64_t{0})),
         .outcome = ParseAttemptOutcome(json.value("outcome", std::string())).value_or(AttemptOutcome::kRetryable),
         .code = json.value("code", std::string()),
         .error = json.value("error", std::string()),
         .latency = absl::Milliseconds(json.value("latency_ms", int64_t{0})),
         .provider_message_id = json.value("message_id", std::string()),
         .before_replay = json.value("before_replay", false)});
  }
  return attempts;
}

void AddText(PgArray& array, const std::string& text) { array.AddOrNull(StorableText(text, limits::kMaxErrorBytes)); }
void AddTime(PgArray& array, const std::optional<absl::Time>& time) {
  time.has_value() ? array.Add(*time) : array.AddNull();
}

// The parameters of kRecordUpdates, column by column.
class UpdateColumns {
 public:
  void Add(const DeliveryUpdate& update) {
    notifications_.Add(update.delivery->item.id);
    ids_.Add(update.delivery->id);
    retentions_.Add(update.delivery->item.retention_days);
    claims_.Add(update.claim);
    states_.Add(carillon::ToString(update.state));
    AddText(details_, update.detail);
    AddAttempts(update);
    AddTime(holds_, update.hold_until);
    update.hold_until.has_value() ? causes_.Add(ToString(update.cause)) : causes_.AddNull();
    AddTime(dead_, update.device_dead_since);
    AddText(reasons_, update.suppress_reason);
    addresses_.AddOrNull(update.address);
    resends_.Add(update.may_resend);
  }

  pqxx::result Execute(PgSession& session, pqxx::transaction_base& transaction) const {
    static const std::string sql = absl::StrReplaceAll(
        absl::StrCat(kRecordUpdates, kCloseNotifications, kCountAndTell, " SELECT count(*) FROM updated"),
        {{"{early}", "(d.early_receipts -> new_message_id)"},
         {"{failed}", "(new_state = 'sent' AND coalesce(d.early_receipts ? new_message_id, false))"},
         {"{comes_back}",
          "(new_state = 'sent' AND may_resend AND NOT d.resent"
          " AND d.early_receipts -> new_message_id ->> 'resend_us' IS NOT NULL)"}});
    static const PgStatement kRecord = {"record_deliveries", sql.c_str()};
    return session.Execute(transaction, kRecord, notifications_.str(), ids_.str(), retentions_.str(), claims_.str(),
                           states_.str(), details_.str(), providers_.str(), message_ids_.str(), codes_.str(),
                           attempts_.str(), holds_.str(), causes_.str(), dead_.str(), reasons_.str(), addresses_.str(),
                           resends_.str());
  }

 private:
  // The provider is the one that has it, or was asked last.
  void AddAttempts(const DeliveryUpdate& update) {
    if (update.attempts.empty()) {
      for (PgArray* array : {&providers_, &message_ids_, &codes_, &attempts_}) array->AddNull();
      return;
    }
    const DeliveryAttempt& last = update.attempts.back();
    AddText(providers_, last.provider);
    AddText(message_ids_, last.provider_message_id);
    AddText(codes_, last.code);
    Json all = Json::array();
    for (const DeliveryAttempt& attempt : update.attempts) all.push_back(ToJson(attempt));
    attempts_.Add(all.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  PgArray notifications_, ids_, retentions_, claims_, states_, details_, providers_, message_ids_, codes_, attempts_,
      holds_, causes_, dead_, reasons_, addresses_, resends_;
};

DeliveryRecord ToRecord(const pqxx::row& row) {
  DeliveryRecord record{.id = UuidOf(row["delivery_id"]),
                        .channel = ParseChannel(Text(row["channel"])).value_or(Channel::kEmail),
                        .state = ParseDeliveryState(Text(row["state"])).value_or(DeliveryState::kPending),
                        .device_id = OwnedText(row["device_id"]),
                        .provider = OwnedText(row["provider"]),
                        .provider_message_id = OwnedText(row["provider_message_id"]),
                        .detail = OwnedText(row["detail"]),
                        .attempts = AttemptsOf(row["attempts"]),
                        .create_time = TimeOf(row["created_us"]),
                        .finish_time = {},
                        .hold_until = {}};
  if (!row["finished_us"].is_null()) record.finish_time = TimeOf(row["finished_us"]);
  if (!row["hold_us"].is_null()) record.hold_until = TimeOf(row["hold_us"]);
  return record;
}

ClaimResult ToClaim(const pqxx::row& row) {
  ClaimResult result{.claimed = true,
                     .claim = row["claim"].as<int>(),
                     .interrupted = row["interrupted"].as<bool>(),
                     .address = OwnedText(row["address"]),
                     .device_register_time = {},
                     .locale = OwnedText(row["locale"]),
                     .default_locale = OwnedText(row["default_locale"]),
                     .suppressed = OwnedText(row["suppressed"]),
                     .attempts = AttemptsOf(row["attempts"])};
  if (!row["registered_us"].is_null()) result.device_register_time = TimeOf(row["registered_us"]);
  return result;
}

}  // namespace

absl::StatusOr<std::vector<Contacts>> PostgresDeliveryStore::ReadContacts(absl::Span<const FeedKey> keys) {
  PgArray apps, recipients;
  for (const FeedKey& key : keys) {
    apps.Add(key.app.value());
    recipients.Add(key.recipient.value());
  }
  std::vector<Contacts> contacts;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    contacts.assign(keys.size(), {});
    for (const auto& row : session.Execute(transaction, kReadContacts, apps.str(), recipients.str())) {
      Contacts& one = contacts[row["position"].as<size_t>() - 1];
      one.has_email = row["has_email"].as<bool>();
      one.has_phone = row["has_phone"].as<bool>();
      if (row["device_id"].is_null()) continue;
      one.devices.push_back({.id = OwnedText(row["device_id"]),
                             .channel = ParseChannel(Text(row["channel"])).value_or(Channel::kFcm),
                             .token = {},
                             .register_time = {}});
    }
  }));
  return contacts;
}

absl::StatusOr<std::vector<ClaimResult>> PostgresDeliveryStore::Claim(absl::Span<const ClaimRequest> requests,
                                                                      absl::Duration lease) {
  PgArray notifications, ids, retentions, take_over;
  for (const ClaimRequest& request : requests) {
    notifications.Add(request.delivery->item.id);
    ids.Add(request.delivery->id);
    retentions.Add(request.delivery->item.retention_days);
    take_over.Add(request.take_over ? "true" : "false");
  }
  std::vector<ClaimResult> results;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    results.assign(requests.size(), {});
    for (const auto& row : session.Execute(transaction, kClaim, notifications.str(), ids.str(), retentions.str(),
                                           take_over.str(), absl::ToInt64Microseconds(lease))) {
      results[row["position"].as<size_t>() - 1] = ToClaim(row);
    }
  }));
  return results;
}

absl::Status PostgresDeliveryStore::Record(absl::Span<const DeliveryUpdate> updates) {
  UpdateColumns columns;
  for (const DeliveryUpdate& update : updates) columns.Add(update);
  return pool_->Run(
      [&](PgSession& session, pqxx::transaction_base& transaction) { columns.Execute(session, transaction); });
}

absl::StatusOr<int> PostgresDeliveryStore::ReleaseHeld(AppId app, Channel channel, Lane lane, int limit) {
  int released = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    released = ReleaseHeldRows(session, transaction, app, channel, lane, limit);
  }));
  return released;
}

absl::StatusOr<std::vector<AppId>> PostgresDeliveryStore::AppsWithHeld(Channel channel, Lane lane) {
  std::vector<AppId> apps;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    apps.clear();
    for (const auto& row : session.Execute(transaction, kAppsWithHeld, std::string(carillon::ToString(channel)),
                                           std::string(carillon::ToString(lane)))) {
      apps.push_back(AppId(row[0].as<int64_t>()));
    }
  }));
  return apps;
}

absl::StatusOr<std::vector<DeliveryRecord>> PostgresDeliveryStore::List(AppId app, const NotificationId& id) {
  std::vector<DeliveryRecord> records;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    records.clear();
    for (const auto& row : session.Execute(transaction, kList, app.value(), id.ToString())) {
      records.push_back(ToRecord(row));
    }
  }));
  return records;
}

absl::StatusOr<int> PostgresDeliveryStore::RequeueIdle(Lane lane, Channel channel, absl::Time idle_since, int limit) {
  int written = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    written =
        static_cast<int>(session
                             .Execute(transaction, kRequeueIdle, std::string(carillon::ToString(lane)),
                                      std::string(carillon::ToString(channel)), absl::ToUnixMicros(idle_since), limit)
                             .affected_rows());
  }));
  return written;
}

absl::StatusOr<int> PostgresDeliveryStore::ForgetKept(absl::Time sent_before, int limit) {
  int forgotten = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    forgotten = static_cast<int>(
        session.Execute(transaction, kForgetKept, absl::ToUnixMicros(sent_before), limit).affected_rows());
  }));
  return forgotten;
}

}  // namespace carillon
