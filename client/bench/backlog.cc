#include "client/bench/backlog.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "carillon/domain/notification.h"
#include "carillon/postgres/arrays.h"
#include "carillon/wire/envelope.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr int64_t kChunk = 50'000;
constexpr absl::Duration kStatementTimeout = absl::Minutes(5);
constexpr absl::Duration kLook = absl::Milliseconds(20);
constexpr const char* kData = R"({"title":"20 % off","text":"Until Sunday","link":"https://example.org/offers"})";

// $1: how many, $2: recipients. UUIDv7 from the clock and a random UUID, whose
// variant bits stand where version 7 has them.
constexpr const char* kRows = R"sql(
  WITH rows AS MATERIALIZED (
    SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
            || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid AS id,
           ($2::text[])[1 + number % cardinality($2::text[])] AS recipient, number
    FROM generate_series(0, $1::bigint - 1) AS number)
)sql";

// $3: app.
constexpr const char* kNotifications = R"sql(
  INSERT INTO notifications (notification_id, app_id, created_at, finished_at, retention_days, lane, state, type,
                             recipient_id, actor_id, object_id, channels, data)
  SELECT id, $3, now(), CASE WHEN $4 = 'delivered' THEN now() END, CASE $4 WHEN 'scheduled' THEN 0 ELSE 7 END, 'marketing', $4, 'marketing.discount', recipient,
         'actor-1', 'object-' || number, '{in_app}', $5::json
  FROM rows
)sql";

// $6 to $8: an envelope without its id and its recipient.
constexpr const char* kOutbox = R"sql(
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  SELECT id, $3, 'marketing', 'carillon.topic', 'marketing.discount', 'marketing.discount',
         $6::bytea || uuid_send(id) || $7::bytea || convert_to(recipient, 'UTF8') || $8::bytea
  FROM rows
)sql";

// The same parameters.
constexpr const char* kSchedules = R"sql(
  INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                         exchange, routing_key, type, payload)
  SELECT $3, now(), id, id, 7, 'marketing', 'send_time', '', recipient, 'carillon.topic', 'marketing.discount',
         'marketing.discount', $6::bytea || uuid_send(id) || $7::bytea || convert_to(recipient, 'UTF8') || $8::bytea
  FROM rows
)sql";

constexpr const char* kFeed = R"sql(
  , heads AS (
    INSERT INTO feed_heads (app_id, recipient_id, last_seq, unread)
    SELECT $3, recipient, count(*), count(*) FROM rows GROUP BY recipient
    ON CONFLICT (app_id, recipient_id) DO UPDATE
    SET last_seq = feed_heads.last_seq + excluded.last_seq, unread = feed_heads.unread + excluded.unread
    RETURNING recipient_id, last_seq)
  INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, body,
                          action_link, badge, object_id, data)
  SELECT id, $3, h.last_seq + 1 - row_number() OVER (PARTITION BY recipient), now(), 7, recipient, 'marketing.discount',
         '20 % off', 'Until Sunday', 'https://example.org/offers', 'offer', 'object-' || number, $5::json
  FROM rows JOIN heads h ON h.recipient_id = rows.recipient
)sql";

// Parts of an envelope that are the same for every notification.
struct EnvelopeParts {
  std::string before_id;
  std::string before_recipient;
  std::string rest;
};

EnvelopeParts SplitEnvelope(int64_t app, size_t recipient_size) {
  const std::string id(16, '\x7f');
  const std::string recipient(recipient_size, '\x7e');
  Notification n;
  n.id = *Uuid::FromBytes(id);
  n.app = AppId(app);
  n.type = "marketing.discount";
  n.recipient = RecipientId(recipient);
  n.actor_id = "actor-1";
  n.object_id = "object-1";
  n.data_json = kData;
  n.channels = {Channel::kInApp};
  n.retention_days = 7;
  n.create_time = absl::Now();
  const std::string envelope = EncodeEnvelope(n);
  const size_t id_at = envelope.find(id);
  const size_t recipient_at = envelope.find(recipient);
  return {envelope.substr(0, id_at), envelope.substr(id_at + id.size(), recipient_at - id_at - id.size()),
          envelope.substr(recipient_at + recipient.size())};
}

std::string Bytea(const std::string& bytes) { return absl::StrCat("\\x", absl::BytesToHexString(bytes)); }

std::string ArrayOf(const std::vector<std::string>& texts) {
  PgArray array;
  for (const std::string& text : texts) array.Add(text);
  return array.str();
}

}  // namespace

Backlog::Backlog(const BenchOptions& options)
    : app_key_(options.client.app_key),
      session_(
          {.url = options.database_url, .application_name = "carillon-bench", .statement_timeout = kStatementTimeout}) {
}

absl::Status Backlog::Add(int64_t count, const std::vector<std::string>& recipients, bool notifications) {
  return AddMessages(notifications ? absl::StrCat(kRows, ", stored AS (", kNotifications, ")", kOutbox)
                                   // Every parameter must be named for its type to be known.
                                   : absl::StrCat(kRows, ", unused AS (SELECT $4::text, $5::text)", kOutbox),
                     "accepted", count, recipients);
}

absl::Status Backlog::AddScheduled(int64_t count, const std::vector<std::string>& recipients) {
  return AddMessages(absl::StrCat(kRows, ", stored AS (", kNotifications, ")", kSchedules), "scheduled", count,
                     recipients);
}

absl::Status Backlog::AddMessages(const std::string& sql, const std::string& state, int64_t count,
                                  const std::vector<std::string>& recipients) {
  const std::string list = ArrayOf(recipients);
  for (int64_t made = 0; made < count; made += kChunk) {
    const absl::Status status = session_.Run([&](pqxx::transaction_base& transaction) {
      const auto app =
          transaction.exec_params1("SELECT app_id FROM apps WHERE app_key = $1", app_key_)[0].as<int64_t>();
      const EnvelopeParts parts = SplitEnvelope(app, recipients[0].size());
      transaction.exec_params(sql, std::min(kChunk, count - made), list, app, state, kData, Bytea(parts.before_id),
                              Bytea(parts.before_recipient), Bytea(parts.rest));
    });
    if (!status.ok()) return status;
  }
  return Checkpoint();
}

absl::Status Backlog::AddDelivered(int64_t count, const std::vector<std::string>& recipients) {
  const std::string sql = absl::StrCat(kRows, ", stored AS (", kNotifications, ")", kFeed);
  const std::string list = ArrayOf(recipients);
  // Our sessions do without, for their own short statements.
  if (absl::Status status = Execute("SET enable_hashjoin = on"); !status.ok()) return status;
  for (int64_t made = 0; made < count; made += kChunk) {
    const absl::Status status = session_.Run([&](pqxx::transaction_base& transaction) {
      const auto app =
          transaction.exec_params1("SELECT app_id FROM apps WHERE app_key = $1", app_key_)[0].as<int64_t>();
      transaction.exec_params(sql, std::min(kChunk, count - made), list, app, "delivered", kData);
    });
    if (!status.ok()) return status;
  }
  if (absl::Status status = Execute("VACUUM (ANALYZE) notifications, feed_items, feed_heads"); !status.ok()) {
    return status;
  }
  return Checkpoint();
}

absl::Status Backlog::Checkpoint() { return Execute("CHECKPOINT"); }

absl::StatusOr<bool> Backlog::IsOutboxEmpty(const std::string& lane) {
  bool empty = false;
  const absl::Status status = session_.Run([&](pqxx::transaction_base& transaction) {
    // From the end, which is taken last: the beginning is full of rows that are gone.
    const auto newest = [&](const char* part) {
      return transaction.exec(absl::StrCat("SELECT FROM outbox_", lane, part, " ORDER BY message_id DESC LIMIT 1"));
    };
    empty = newest("_ready").empty() && newest("_deferred").empty();
  });
  if (!status.ok()) return status;
  return empty;
}

absl::StatusOr<bool> Backlog::IsNothingDue() {
  bool none = false;
  const absl::Status status = session_.Run([&](pqxx::transaction_base& transaction) {
    none = transaction.exec("SELECT FROM schedules WHERE lane = 'marketing' AND due_at <= now() LIMIT 1").empty();
  });
  if (!status.ok()) return status;
  return none;
}

absl::Status Backlog::WaitForEmptyOutbox(const std::string& lane, absl::Duration timeout) {
  const absl::Duration deadline = MonotonicNow() + timeout;
  while (true) {
    const absl::StatusOr<bool> empty = IsOutboxEmpty(lane);
    if (!empty.ok()) return empty.status();
    if (*empty) return absl::OkStatus();
    if (MonotonicNow() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat("the outbox of ", lane, " is not empty in time"));
    }
    absl::SleepFor(kLook);
  }
}

absl::Status Backlog::Remove() {
  if (absl::Status status = Execute("TRUNCATE outbox_marketing_ready, outbox_marketing_deferred"); !status.ok()) {
    return status;
  }
  if (absl::Status status = Execute("DELETE FROM schedules WHERE lane = 'marketing' AND cause = 'send_time'");
      !status.ok()) {
    return status;
  }
  // Or housekeeping would find them idle and publish them again.
  return Execute("DELETE FROM notifications WHERE lane = 'marketing' AND finished_at IS NULL");
}

absl::Status Backlog::Execute(const std::string& sql) {
  return session_.Run([&](pqxx::transaction_base& transaction) { transaction.exec(sql); });
}

}  // namespace carillon::bench
