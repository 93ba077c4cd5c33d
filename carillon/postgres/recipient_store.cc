#include "carillon/postgres/recipient_store.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/settings_store.h"

namespace carillon {
namespace {

// A column that is not to change comes as a pair of false and NULL.
constexpr PgStatement kUpdate = {"update_recipient", R"sql(
  INSERT INTO recipients AS r (app_id, recipient_id, email, phone, locale, time_zone)
  VALUES ($1, $2, $4::text, $6::text, $8::text, $10::text)
  ON CONFLICT (app_id, recipient_id) DO UPDATE
  SET email = CASE WHEN $3::boolean THEN EXCLUDED.email ELSE r.email END,
      phone = CASE WHEN $5::boolean THEN EXCLUDED.phone ELSE r.phone END,
      locale = CASE WHEN $7::boolean THEN EXCLUDED.locale ELSE r.locale END,
      time_zone = CASE WHEN $9::boolean THEN EXCLUDED.time_zone ELSE r.time_zone END,
      updated_at = now()
)sql"};

// One row per device, or one without a device.
constexpr PgStatement kGet = {"get_recipient", R"sql(
  SELECT r.email, r.phone, r.locale, r.time_zone, (extract(epoch FROM r.created_at) * 1e6)::bigint AS created_us,
         (extract(epoch FROM r.updated_at) * 1e6)::bigint AS updated_us, d.device_id, d.channel, d.token,
         (extract(epoch FROM d.registered_at) * 1e6)::bigint AS registered_us
  FROM recipients r LEFT JOIN devices d ON d.app_id = r.app_id AND d.recipient_id = r.recipient_id
  WHERE r.app_id = $1 AND r.recipient_id = $2
  ORDER BY d.registered_at DESC, d.device_id
)sql"};

// The one that is put is not among the others, wherever it was before.
constexpr PgStatement kPutDevice = {"put_device", R"sql(
  WITH known AS (
    INSERT INTO recipients (app_id, recipient_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
  ), given_way AS (
    DELETE FROM devices d USING (
      SELECT device_id FROM devices
      WHERE app_id = $1 AND recipient_id = $2 AND channel = $3 AND device_id <> $4
      ORDER BY registered_at DESC, device_id OFFSET $6) AS old
    WHERE d.app_id = $1 AND d.recipient_id = $2 AND d.channel = $3 AND d.device_id = old.device_id
  )
  INSERT INTO devices (app_id, recipient_id, channel, device_id, token) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (app_id, channel, device_id) DO UPDATE
  SET recipient_id = EXCLUDED.recipient_id, token = EXCLUDED.token, registered_at = EXCLUDED.registered_at
  RETURNING (extract(epoch FROM registered_at) * 1e6)::bigint
)sql"};

constexpr PgStatement kRemoveDevices = {"remove_devices", R"sql(
  DELETE FROM devices WHERE app_id = $1 AND recipient_id = $2 AND device_id = ANY ($3::text[])
)sql"};

Device DeviceOf(const pqxx::row& row) {
  return {.id = OwnedText(row["device_id"]),
          .channel = ParseChannel(Text(row["channel"])).value_or(Channel::kFcm),
          .token = OwnedText(row["token"]),
          .register_time = TimeOf(row["registered_us"])};
}

std::optional<Recipient> Read(PgSession& session, pqxx::transaction_base& transaction, const FeedKey& key) {
  const pqxx::result rows = session.Execute(transaction, kGet, key.app.value(), key.recipient.value());
  if (rows.empty()) return std::nullopt;
  Recipient recipient{.key = key,
                      .email = OwnedText(rows[0]["email"]),
                      .phone = OwnedText(rows[0]["phone"]),
                      .locale = OwnedText(rows[0]["locale"]),
                      .time_zone = OwnedText(rows[0]["time_zone"]),
                      .devices = {},
                      .create_time = TimeOf(rows[0]["created_us"]),
                      .update_time = TimeOf(rows[0]["updated_us"])};
  for (const auto& row : rows) {
    if (!row["device_id"].is_null()) recipient.devices.push_back(DeviceOf(row));
  }
  return recipient;
}

const char* Value(const std::optional<std::string>& text) { return text.has_value() ? OrNull(*text) : nullptr; }

}  // namespace

absl::StatusOr<Recipient> PostgresRecipientStore::Update(const FeedKey& key, const ContactChange& change) {
  std::optional<Recipient> recipient;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    session.Execute(transaction, kUpdate, key.app.value(), key.recipient.value(), change.email.has_value(),
                    Value(change.email), change.phone.has_value(), Value(change.phone), change.locale.has_value(),
                    Value(change.locale), change.time_zone.has_value(), Value(change.time_zone));
    recipient = Read(session, transaction, key);
    // Quiet hours and digests go by it.
    if (change.time_zone.has_value()) TellSettings(session, transaction, key);
    return absl::OkStatus();
  }));
  if (!recipient.has_value()) return error::Internal("a recipient is not there that was just written");
  return *std::move(recipient);
}

absl::StatusOr<Recipient> PostgresRecipientStore::Get(const FeedKey& key) {
  std::optional<Recipient> recipient;
  RETURN_IF_ERROR(pool_->Run(
      [&](PgSession& session, pqxx::transaction_base& transaction) { recipient = Read(session, transaction, key); }));
  if (!recipient.has_value()) return error::NotFound("recipient", key.recipient.value());
  return *std::move(recipient);
}

absl::StatusOr<absl::Time> PostgresRecipientStore::PutDevice(const FeedKey& key, const Device& device) {
  absl::Time registered;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows =
        session.Execute(transaction, kPutDevice, key.app.value(), key.recipient.value(),
                        std::string(ToString(device.channel)), device.id, device.token, kMaxDevicesPerChannel - 1);
    registered = TimeOf(rows[0][0]);
  }));
  return registered;
}

absl::StatusOr<int> PostgresRecipientStore::RemoveDevices(const FeedKey& key,
                                                          absl::Span<const std::string> device_ids) {
  PgArray ids;
  for (const std::string& id : device_ids) ids.Add(id);
  int removed = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    removed =
        static_cast<int>(session.Execute(transaction, kRemoveDevices, key.app.value(), key.recipient.value(), ids.str())
                             .affected_rows());
  }));
  return removed;
}

}  // namespace carillon
