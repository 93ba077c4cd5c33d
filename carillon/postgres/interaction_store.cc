#include "carillon/postgres/interaction_store.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_sql.h"

namespace carillon {
namespace {

constexpr size_t kMaxCodeBytes = 100;
constexpr size_t kMaxReasonBytes = 255;
// Of receipts that are kept for one delivery; then no more are.
constexpr int kMaxEarlyBytes = 4096;

// Deliveries are locked in the order of their ids, and seen as they are then. A
// provider's id that is another one than the delivery's means an earlier call: that
// this one arrived nowhere says nothing of the one that was accepted since. What was
// still open and arrived had been accepted without a word: it counts as sent as well, and
// so does what had been given up, whose death counts no more: nobody may send it again;
// one that did not arrive goes on, to the next provider and at once. What a call under
// way came to may be told before it is recorded: that is kept until then. An address
// is suppressed only if it is surely the one that the message went to.
constexpr char kRecordReceiptsHead[] = R"sql(
  WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::boolean[], $11::bigint[], $12::bigint[])
      WITH ORDINALITY AS rows (app_id, notification_id, delivery_id, told_id, channel, told, code, error, suppress_reason,
                               type_only, time_us, resend_us, position)
    ORDER BY notification_id, delivery_id, position
  ), named AS MATERIALIZED (
    SELECT d.*, asked.told_id, asked.told, asked.code, asked.error, asked.suppress_reason, asked.type_only, asked.time_us,
           asked.resend_us, asked.position
    FROM asked CROSS JOIN LATERAL (
      SELECT notification_id, delivery_id, retention_days, app_id, created_at, recipient_id, type, channel, state,
             provider_message_id, resent, claimed_until IS NOT NULL AS is_claimed, payload IS NOT NULL AND NOT resent AS may_resend
      FROM deliveries d
      WHERE d.notification_id = asked.notification_id AND d.delivery_id = asked.delivery_id AND d.app_id = asked.app_id
      LIMIT 1 FOR UPDATE
    ) AS d
    UNION ALL
    SELECT d.*, asked.told_id, asked.told, asked.code, asked.error, asked.suppress_reason, asked.type_only, asked.time_us,
           asked.resend_us, asked.position
    FROM asked CROSS JOIN LATERAL (
      SELECT notification_id, delivery_id, retention_days, app_id, created_at, recipient_id, type, channel, state,
             provider_message_id, resent, claimed_until IS NOT NULL AS is_claimed, payload IS NOT NULL AND NOT resent AS may_resend
      FROM deliveries d
      WHERE asked.notification_id IS NULL
        AND d.app_id = asked.app_id AND d.provider_message_id = asked.told_id AND d.channel = asked.channel
      LIMIT 1 FOR UPDATE
    ) AS d
  ), chosen AS MATERIALIZED (
    SELECT DISTINCT ON (notification_id, delivery_id) *, state IN ('pending', 'held') AS was_open,
           state IN ('dead', 'undelivered') AS was_dead,
           told = 'undelivered' AND resend_us IS NOT NULL AND may_resend AS resend
    FROM named
    WHERE told IS NOT NULL
      AND (told = 'delivered' AND (state IN ('pending', 'held', 'sent', 'dead') OR state = 'undelivered' AND resent)
           OR (state = 'sent' AND coalesce(provider_message_id = told_id, true)))
    -- That it arrived counts, whatever else is told.
    ORDER BY notification_id, delivery_id, told, position
  ), refined AS (
    UPDATE deliveries d
    SET state = chosen.told, touched_at = clock_timestamp(), claimed_until = NULL, payload = NULL,
        finished_at = coalesce(d.finished_at, greatest(d.created_at, least(to_timestamp(chosen.time_us / 1e6::float8),
                                                                           clock_timestamp()))),
        -- Whose call the receipt is of, where that is recorded.
        provider = coalesce((SELECT call ->> 'provider' FROM jsonb_array_elements(d.attempts) AS call
                             WHERE call ->> 'message_id' = chosen.told_id LIMIT 1),
                            d.provider, d.attempts -> -1 ->> 'provider'),
        provider_message_id = CASE WHEN chosen.was_open OR chosen.was_dead THEN coalesce(chosen.told_id, d.provider_message_id)
                                   ELSE coalesce(d.provider_message_id, chosen.told_id) END,
        detail = CASE chosen.told WHEN 'undelivered' THEN nullif(concat_ws(': ', chosen.code, chosen.error), '') END
    FROM chosen
    WHERE d.notification_id = chosen.notification_id AND d.delivery_id = chosen.delivery_id
      AND d.retention_days = chosen.retention_days AND NOT chosen.resend
    RETURNING d.app_id, d.notification_id, d.delivery_id, d.retention_days, d.recipient_id, d.lane, d.type, d.channel,
              d.state, d.provider, d.provider_message_id, d.detail, d.finished_at, chosen.code, chosen.was_open, chosen.was_dead,
              chosen.state AS was_state, d.resent AS counted
  ), resent AS (
    UPDATE deliveries d
    SET state = 'held', resent = true, finished_at = NULL, touched_at = clock_timestamp(), interrupted = false,
        detail = concat_ws(': ', chosen.code, chosen.error, 'tried once more later'),
        attempts = jsonb_set(d.attempts, '{-1}', (d.attempts -> -1) || jsonb_strip_nulls(
                                                    jsonb_build_object('code', chosen.code, 'error', chosen.error)))
    FROM chosen
    WHERE d.notification_id = chosen.notification_id AND d.delivery_id = chosen.delivery_id
      AND d.retention_days = chosen.retention_days AND chosen.resend
    RETURNING d.app_id, d.notification_id, d.delivery_id, d.retention_days, d.recipient_id, d.lane, d.type, d.channel,
              d.payload, chosen.resend_us
  ), waiting AS (
    INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                           exchange, routing_key, type, payload)
    SELECT app_id, clock_timestamp() + resend_us * interval '1 microsecond', notification_id, delivery_id, retention_days,
           lane, 'resend', channel, recipient_id, 'carillon.delivery', lane || '.' || channel, type, payload
    FROM resent
    ON CONFLICT DO NOTHING
  ), kept AS (
    UPDATE deliveries d
    SET early_receipts = CASE WHEN length(d.early_receipts::text) > $13 THEN d.early_receipts
                              ELSE coalesce(d.early_receipts, '{}') || early.receipts END
    FROM (SELECT notification_id, delivery_id, retention_days,
                 jsonb_object_agg(told_id, jsonb_build_object('code', code, 'error', error, 'resend_us', resend_us)) AS receipts
          FROM named WHERE told = 'undelivered' AND told_id IS NOT NULL AND state = 'pending' AND is_claimed
          GROUP BY notification_id, delivery_id, retention_days) AS early
    WHERE d.notification_id = early.notification_id AND d.delivery_id = early.delivery_id
      AND d.retention_days = early.retention_days
      AND NOT EXISTS (SELECT FROM chosen WHERE chosen.delivery_id = early.delivery_id)
  ), ended AS MATERIALIZED (
    SELECT notification_id, delivery_id, retention_days, state, detail, counted FROM refined WHERE was_open
  ), woken AS (
    DELETE FROM schedules s USING ended WHERE s.message_id = ended.delivery_id
  ), hurried AS (
    UPDATE schedules s SET due_at = now() FROM named
    WHERE named.told = 'undelivered' AND named.state = 'held' AND s.message_id = named.delivery_id AND s.cause = 'receipt'
  ), changed AS MATERIALIZED (
    SELECT app_id, notification_id, delivery_id, recipient_id, lane, type, channel, 'sent' AS state, provider,
           provider_message_id, NULL AS code
    FROM refined WHERE (was_open OR was_dead) AND NOT counted
    UNION ALL
    SELECT app_id, notification_id, delivery_id, recipient_id, lane, type, channel, state, provider,
           provider_message_id, code
    FROM refined
  ), arrived AS MATERIALIZED (
    SELECT DISTINCT notification_id, retention_days FROM refined WHERE was_dead
      AND NOT EXISTS (SELECT FROM ended WHERE ended.notification_id = refined.notification_id AND NOT ended.counted)
    ORDER BY notification_id
  ), mended AS (
    UPDATE notifications n
    SET outcome = 'delivered', state = CASE n.state WHEN 'dead' THEN 'delivered' ELSE n.state END,
        detail = CASE WHEN n.state IN ('accepted', 'dead') THEN NULL ELSE n.detail END
    FROM arrived
    WHERE n.notification_id = arrived.notification_id AND n.retention_days = arrived.retention_days
      AND n.outcome IS NOT NULL
  ), uncounted AS (
    -- In another part than what is counted below: no row is written twice.
    INSERT INTO daily_stats AS stats (app_id, count, day, part, type, channel, kind)
    SELECT app_id, -count(*), (finished_at AT TIME ZONE 'UTC')::date, (pg_backend_pid() + 1) % 8, type, channel, was_state
    FROM refined WHERE was_dead GROUP BY app_id, 3, type, channel, was_state ORDER BY app_id, 3, type, channel, was_state
    ON CONFLICT (app_id, day, type, channel, kind, part) DO UPDATE SET count = stats.count + EXCLUDED.count
  ), suppressed AS (
    INSERT INTO suppressions (app_id, channel, address_hash, type, reason, address)
    SELECT app_id, channel, sha256(convert_to(lower(address), 'UTF8')), type, min(suppress_reason), address
    FROM (SELECT n.app_id, n.channel, CASE WHEN n.type_only THEN n.type ELSE '' END, n.suppress_reason,
                 CASE n.channel WHEN 'email' THEN r.email WHEN 'sms' THEN r.phone END
          FROM named n JOIN recipients r ON r.app_id = n.app_id AND r.recipient_id = n.recipient_id
          WHERE n.suppress_reason IS NOT NULL AND r.updated_at <= n.created_at)
         AS unwanted (app_id, channel, type, suppress_reason, address)
    WHERE address IS NOT NULL
    GROUP BY app_id, channel, address, type ORDER BY app_id, channel, address, type
    ON CONFLICT DO NOTHING
  )
)sql";

// The type's lane where only a feed has the item: types know it.
constexpr char kRecordInteractionsHead[] = R"sql(
  WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[])
      WITH ORDINALITY AS rows (app_id, notification_id, delivery_id, recipient_id, channel, kind, position)
  ), named AS MATERIALIZED (
    SELECT asked.position, asked.app_id, asked.notification_id, asked.delivery_id, asked.channel, asked.kind,
           target.recipient_id, target.type,
           coalesce(target.lane, (SELECT t.lane FROM types t WHERE t.app_id IN (asked.app_id, 0) AND t.name = target.type
                                  ORDER BY t.app_id DESC LIMIT 1), 'social') AS lane
    FROM asked CROSS JOIN LATERAL (
      SELECT n.recipient_id COLLATE "C" AS recipient_id, n.type, n.lane FROM notifications n
      WHERE n.notification_id = asked.notification_id AND n.app_id = asked.app_id
      UNION ALL
      SELECT f.recipient_id COLLATE "C", f.type, NULL FROM feed_items f
      WHERE f.notification_id = asked.notification_id AND f.app_id = asked.app_id
      UNION ALL
      SELECT d.recipient_id, d.type, d.lane FROM deliveries d
      WHERE d.notification_id = asked.notification_id AND d.app_id = asked.app_id
      LIMIT 1
    ) AS target
    WHERE asked.recipient_id IS NULL OR asked.recipient_id = target.recipient_id
  ), inserted AS (
    INSERT INTO interactions (app_id, notification_id, channel, kind, recipient_id, type)
    SELECT DISTINCT ON (app_id, notification_id, channel, step) app_id, notification_id, channel, step, recipient_id, type
    FROM named, unnest(CASE kind WHEN 'clicked' THEN ARRAY['opened', 'clicked'] ELSE ARRAY['opened'] END) AS step
    ORDER BY app_id, notification_id, channel, step
    ON CONFLICT DO NOTHING
    RETURNING app_id, notification_id, channel, kind
  ), changed AS MATERIALIZED (
    SELECT n.app_id, n.notification_id, n.delivery_id, n.recipient_id, n.lane, n.type, n.channel, i.kind AS state,
           NULL AS provider, NULL AS provider_message_id, NULL AS code
    FROM inserted i CROSS JOIN LATERAL (
      SELECT * FROM named n
      WHERE n.app_id = i.app_id AND n.notification_id = i.notification_id AND n.channel = i.channel
      ORDER BY n.position LIMIT 1
    ) AS n
  )
)sql";

// The delivery leads to the address by index: nothing is looked for by its hash.
constexpr PgStatement kUnsubscribe = {"unsubscribe", R"sql(
  INSERT INTO suppressions (app_id, channel, address_hash, type, reason, address)
  SELECT $1::bigint, $2::text, hash, $4::text, 'unsubscribed',
         (SELECT address
          FROM deliveries d JOIN recipients r ON r.app_id = d.app_id AND r.recipient_id = d.recipient_id,
          LATERAL (SELECT CASE $2::text WHEN 'email' THEN r.email WHEN 'sms' THEN r.phone END AS address) AS place
          WHERE d.notification_id = $5 AND d.delivery_id = $6 AND d.app_id = $1
            AND sha256(convert_to(lower(address), 'UTF8')) = hash LIMIT 1)
  FROM (SELECT decode($3, 'hex') AS hash) AS asked
  ON CONFLICT DO NOTHING
)sql"};

const PgStatement& RecordReceiptsStatement() {
  static const std::string sql =
      absl::StrCat(kRecordReceiptsHead, kCloseNotifications, kCountAndTell, "SELECT DISTINCT position FROM named");
  static const PgStatement kStatement = {"record_receipts", sql.c_str()};
  return kStatement;
}

const PgStatement& RecordInteractionsStatement() {
  static const std::string sql = absl::StrCat(
      kRecordInteractionsHead, kCountAndTell,
      "SELECT position, EXISTS (SELECT FROM inserted i WHERE i.app_id = n.app_id"
      " AND i.notification_id = n.notification_id AND i.channel = n.channel AND i.kind = n.kind) AS recorded"
      " FROM named n");
  static const PgStatement kStatement = {"record_interactions", sql.c_str()};
  return kStatement;
}

absl::string_view NameOf(InteractionKind kind) { return kind == InteractionKind::kClicked ? "clicked" : "opened"; }

PgArray& AddOptional(PgArray& array, const std::optional<Uuid>& id) {
  return id.has_value() ? array.Add(*id) : array.AddNull();
}

// The parameters of the receipts' statement, column by column. Names by both ids
// need the ids only: the provider's id then tells which call is meant.
class ReceiptColumns {
 public:
  void Add(const DeliveryReceipt& receipt) {
    const bool has_ids = receipt.notification.has_value() && receipt.delivery.has_value();
    apps_.Add(receipt.app.value());
    AddOptional(notifications_, has_ids ? receipt.notification : std::nullopt);
    AddOptional(deliveries_, has_ids ? receipt.delivery : std::nullopt);
    message_ids_.AddOrNull(StorableText(receipt.provider_message_id, limits::kMaxIdBytes));
    receipt.channel.has_value() ? channels_.Add(ToString(*receipt.channel)) : channels_.AddNull();
    receipt.state.has_value() ? states_.Add(ToString(*receipt.state)) : states_.AddNull();
    codes_.AddOrNull(StorableText(receipt.code, kMaxCodeBytes));
    errors_.AddOrNull(StorableText(receipt.error, limits::kMaxErrorBytes));
    reasons_.AddOrNull(StorableText(receipt.suppress_reason, kMaxReasonBytes));
    type_only_.Add(receipt.suppress_type_only);
    times_.Add(receipt.time);
    receipt.resend_after.has_value() ? resends_.Add(absl::ToInt64Microseconds(*receipt.resend_after))
                                     : resends_.AddNull();
  }

  pqxx::result Execute(PgSession& session, pqxx::transaction_base& transaction) const {
    return session.Execute(transaction, RecordReceiptsStatement(), apps_.str(), notifications_.str(), deliveries_.str(),
                           message_ids_.str(), channels_.str(), states_.str(), codes_.str(), errors_.str(),
                           reasons_.str(), type_only_.str(), times_.str(), resends_.str(), kMaxEarlyBytes);
  }

 private:
  PgArray apps_, notifications_, deliveries_, message_ids_, channels_, states_, codes_, errors_, reasons_, type_only_,
      times_, resends_;
};

class InteractionColumns {
 public:
  void Add(const Interaction& interaction) {
    apps_.Add(interaction.app.value());
    notifications_.Add(interaction.notification);
    AddOptional(deliveries_, interaction.delivery);
    recipients_.AddOrNull(interaction.recipient);
    channels_.Add(ToString(interaction.channel));
    kinds_.Add(NameOf(interaction.kind));
  }

  pqxx::result Execute(PgSession& session, pqxx::transaction_base& transaction) const {
    return session.Execute(transaction, RecordInteractionsStatement(), apps_.str(), notifications_.str(),
                           deliveries_.str(), recipients_.str(), channels_.str(), kinds_.str());
  }

 private:
  PgArray apps_, notifications_, deliveries_, recipients_, channels_, kinds_;
};

}  // namespace

absl::StatusOr<std::vector<bool>> PostgresInteractionStore::RecordReceipts(absl::Span<const DeliveryReceipt> receipts) {
  ReceiptColumns columns;
  for (const DeliveryReceipt& receipt : receipts) columns.Add(receipt);
  std::vector<bool> matched;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    matched.assign(receipts.size(), false);
    for (const auto& row : columns.Execute(session, transaction)) matched[row[0].as<size_t>() - 1] = true;
  }));
  return matched;
}

absl::StatusOr<std::vector<InteractionOutcome>> PostgresInteractionStore::RecordInteractions(
    absl::Span<const Interaction> interactions) {
  InteractionColumns columns;
  for (const Interaction& interaction : interactions) columns.Add(interaction);
  std::vector<InteractionOutcome> outcomes;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    outcomes.assign(interactions.size(), InteractionOutcome::kNotFound);
    for (const auto& row : columns.Execute(session, transaction)) {
      outcomes[row["position"].as<size_t>() - 1] =
          row["recorded"].as<bool>() ? InteractionOutcome::kRecorded : InteractionOutcome::kRepeated;
    }
  }));
  return outcomes;
}

absl::Status PostgresInteractionStore::Unsubscribe(const Unsubscription& unsubscription) {
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kUnsubscribe, unsubscription.app.value(),
                    std::string(ToString(unsubscription.channel)), absl::BytesToHexString(unsubscription.address_hash),
                    unsubscription.type, unsubscription.notification.ToString(), unsubscription.delivery.ToString());
  });
}

}  // namespace carillon
