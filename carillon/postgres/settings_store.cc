#include "carillon/postgres/settings_store.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/rows.h"
#include "carillon/postgres/settings_json.h"

namespace carillon {
namespace {

// One row per recipient that was asked for. Nearly none has mutes.
constexpr PgStatement kRead = {"read_settings", R"sql(
  SELECT asked.position, s.preferences, s.quiet_hours, s.digest_time, r.time_zone,
         (extract(epoch FROM s.do_not_disturb_until) * 1e6)::bigint AS quiet_until_us,
         (SELECT json_agg(json_build_array(kind, muted_id, CASE WHEN muted_until < 'infinity'
                                                            THEN (extract(epoch FROM muted_until) * 1e6)::bigint END))
          FROM mutes m
          WHERE m.app_id = asked.app_id AND m.recipient_id = asked.recipient_id AND m.muted_until > now()) AS mutes
  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (app_id, recipient_id, position)
  LEFT JOIN recipient_settings s ON s.app_id = asked.app_id AND s.recipient_id = asked.recipient_id
  LEFT JOIN recipients r ON r.app_id = asked.app_id AND r.recipient_id = asked.recipient_id
)sql"};

constexpr PgStatement kLock = {"lock_settings", R"sql(
  INSERT INTO recipient_settings (app_id, recipient_id) VALUES ($1, $2)
  ON CONFLICT (app_id, recipient_id) DO UPDATE SET updated_at = clock_timestamp()
  RETURNING preferences, quiet_hours, digest_time, (extract(epoch FROM do_not_disturb_until) * 1e6)::bigint AS quiet_until_us
)sql"};

// Times are put together from seconds and microseconds: as one number of seconds, a far
// one would be rounded.
constexpr PgStatement kWrite = {"write_settings", R"sql(
  UPDATE recipient_settings
  SET preferences = $3::jsonb, quiet_hours = $4::jsonb, digest_time = $5::jsonb,
      do_not_disturb_until = to_timestamp($6::bigint / 1000000) + $6::bigint % 1000000 * interval '1 microsecond'
  WHERE app_id = $1 AND recipient_id = $2
)sql"};

// What quiet hours or do-not-disturb hold is decided on once more, by the new ones.
constexpr PgStatement kLookAgain = {"look_again_at_held", R"sql(
  WITH held AS MATERIALIZED (
    SELECT schedule_id FROM schedules
    WHERE app_id = $1 AND recipient_id = $2 AND cause = 'hold' AND due_at > now()
    ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
  )
  UPDATE schedules s SET due_at = now() FROM held WHERE s.schedule_id = held.schedule_id
)sql"};
constexpr int kLookAgainRows = 1000;

constexpr PgStatement kAddMutes = {"add_mutes", R"sql(
  INSERT INTO mutes (app_id, recipient_id, kind, muted_id, muted_until)
  SELECT $1, $2, kind, muted_id,
         coalesce(to_timestamp(until_us / 1000000) + until_us % 1000000 * interval '1 microsecond', 'infinity')
  FROM unnest($3::text[], $4::text[], $5::bigint[]) AS m (kind, muted_id, until_us)
  ORDER BY kind, muted_id
  ON CONFLICT (app_id, recipient_id, kind, muted_id) DO UPDATE SET muted_until = EXCLUDED.muted_until
)sql"};

// Those that are over go first.
constexpr PgStatement kCountMutes = {"count_mutes", R"sql(
  WITH over AS (
    DELETE FROM mutes WHERE app_id = $1 AND recipient_id = $2 AND muted_until <= now()
  )
  SELECT count(*) FROM mutes WHERE app_id = $1 AND recipient_id = $2 AND muted_until > now()
)sql"};

constexpr PgStatement kRemoveMutes = {"remove_mutes", R"sql(
  DELETE FROM mutes m USING unnest($3::text[], $4::text[]) AS gone (kind, muted_id)
  WHERE m.app_id = $1 AND m.recipient_id = $2 AND m.kind = gone.kind AND m.muted_id = gone.muted_id
)sql"};

constexpr PgStatement kReadApp = {"read_app_preferences", R"sql(
  SELECT coalesce(json_agg(json_build_object('scope', scope, 'name', name, 'channel', channel, 'choice', choice)
                           ORDER BY scope, name, channel), '[]')
  FROM app_preferences WHERE app_id = $1
)sql"};

constexpr PgStatement kForgetApp = {"forget_app_preferences", "DELETE FROM app_preferences WHERE app_id = $1"};
constexpr PgStatement kWriteApp = {"write_app_preferences", R"sql(
  INSERT INTO app_preferences (app_id, scope, name, channel, choice)
  SELECT $1, scope, coalesce(name, ''), coalesce(channel, ''), choice
  FROM json_to_recordset($2::json) AS p (scope text, name text, channel text, choice text)
)sql"};

constexpr PgStatement kTell = {"tell_settings", "SELECT pg_notify('carillon_settings', $1)"};

absl::string_view ToWord(MuteKind kind) { return kind == MuteKind::kActor ? "actor" : "object"; }

absl::Status ReadInto(const pqxx::row& row, RecipientSettings& settings) {
  if (row["preferences"].is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(settings.preferences, DecodePreferences(Text(row["preferences"])));
  ASSIGN_OR_RETURN(settings.quiet_hours, DecodeQuietHours(Text(row["quiet_hours"])));
  if (!row["digest_time"].is_null()) {
    ASSIGN_OR_RETURN(settings.digest_time, DecodeDigestTime(Text(row["digest_time"])));
  }
  if (!row["quiet_until_us"].is_null()) settings.do_not_disturb_until = TimeOf(row["quiet_until_us"]);
  return absl::OkStatus();
}

// Written by kRead: [[kind, id, until or null], …].
std::vector<Mute> MutesOf(absl::string_view text) {
  std::vector<Mute> mutes;
  for (const auto& one : nlohmann::json::parse(text)) {
    mutes.push_back({.kind = one[0] == "actor" ? MuteKind::kActor : MuteKind::kObject,
                     .id = one[1].get<std::string>(),
                     .until = one[2].is_null() ? absl::InfiniteFuture() : absl::FromUnixMicros(one[2].get<int64_t>())});
  }
  return mutes;
}

}  // namespace

void TellSettings(PgSession& session, pqxx::work& transaction, const FeedKey& key) {
  session.Execute(transaction, kTell, absl::StrCat(key.app.value(), ":", key.recipient.value()));
}

absl::StatusOr<std::vector<KnownSettings>> PostgresSettingsStore::Read(absl::Span<const FeedKey> keys) {
  PgArray apps, recipients;
  for (const FeedKey& key : keys) {
    apps.Add(key.app.value());
    recipients.Add(key.recipient.value());
  }
  std::vector<KnownSettings> all;
  absl::Status status;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    all.assign(keys.size(), {});
    for (const auto& row : session.Execute(transaction, kRead, apps.str(), recipients.str())) {
      KnownSettings& known = all[row["position"].as<size_t>() - 1];
      status.Update(ReadInto(row, known.settings));
      known.time_zone = OwnedText(row["time_zone"]);
      if (!row["mutes"].is_null()) known.mutes = MutesOf(Text(row["mutes"]));
    }
  }));
  RETURN_IF_ERROR(status);
  return all;
}

absl::StatusOr<RecipientSettings> PostgresSettingsStore::Update(const FeedKey& key, Change change) {
  RecipientSettings settings;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    settings = {};
    const pqxx::result locked = session.Execute(transaction, kLock, key.app.value(), key.recipient.value());
    RETURN_IF_ERROR(ReadInto(locked[0], settings));
    const RecipientSettings before = settings;
    RETURN_IF_ERROR(change(settings));
    std::optional<int64_t> quiet_until;
    if (settings.do_not_disturb_until.has_value()) quiet_until = absl::ToUnixMicros(*settings.do_not_disturb_until);
    session.Execute(transaction, kWrite, key.app.value(), key.recipient.value(),
                    EncodePreferences(settings.preferences), EncodeQuietHours(settings.quiet_hours),
                    EncodeDigestTime(settings.digest_time), quiet_until);
    if (settings.do_not_disturb_until != before.do_not_disturb_until || settings.quiet_hours != before.quiet_hours) {
      session.Execute(transaction, kLookAgain, key.app.value(), key.recipient.value(), kLookAgainRows);
    }
    TellSettings(session, transaction, key);
    return absl::OkStatus();
  }));
  return settings;
}

absl::Status PostgresSettingsStore::AddMutes(const FeedKey& key, absl::Span<const Mute> mutes) {
  PgArray kinds, ids, times;
  for (const Mute& mute : mutes) {
    kinds.Add(ToWord(mute.kind));
    ids.Add(mute.id);
    mute.until == absl::InfiniteFuture() ? times.AddNull() : times.Add(mute.until);
  }
  return pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    // Who else adds mutes waits: together they keep to the bound.
    session.Execute(transaction, kLock, key.app.value(), key.recipient.value());
    session.Execute(transaction, kAddMutes, key.app.value(), key.recipient.value(), kinds.str(), ids.str(),
                    times.str());
    const auto count =
        session.Execute(transaction, kCountMutes, key.app.value(), key.recipient.value())[0][0].as<int>();
    if (count > kMaxMutes) {
      return error::InvalidField("mutes", absl::StrCat("would be more than the ", kMaxMutes, " of a recipient"));
    }
    TellSettings(session, transaction, key);
    return absl::OkStatus();
  });
}

absl::StatusOr<int> PostgresSettingsStore::RemoveMutes(const FeedKey& key, absl::Span<const Mute> mutes) {
  PgArray kinds, ids;
  for (const Mute& mute : mutes) {
    kinds.Add(ToWord(mute.kind));
    ids.Add(mute.id);
  }
  int removed = 0;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    removed = static_cast<int>(
        session.Execute(transaction, kRemoveMutes, key.app.value(), key.recipient.value(), kinds.str(), ids.str())
            .affected_rows());
    TellSettings(session, transaction, key);
    return absl::OkStatus();
  }));
  return removed;
}

absl::StatusOr<std::vector<Preference>> PostgresSettingsStore::ReadAppPreferences(AppId app) {
  std::string json;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    json = session.Execute(transaction, kReadApp, app.value())[0][0].as<std::string>();
  }));
  return DecodePreferences(json);
}

absl::Status PostgresSettingsStore::SetAppPreferences(AppId app, absl::Span<const Preference> preferences) {
  return pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    // First, as every change that processes follow.
    transaction.exec("UPDATE catalogue_version SET version = version + 1");
    session.Execute(transaction, kForgetApp, app.value());
    session.Execute(transaction, kWriteApp, app.value(), EncodePreferences(preferences));
    return absl::OkStatus();
  });
}

}  // namespace carillon
