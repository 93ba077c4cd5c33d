#include "carillon/postgres/catalog_store.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/settings_json.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

// The fields of a template by their names in the database.
constexpr std::pair<const char*, std::string InAppTemplate::*> kTemplateFields[] = {
    {"title", &InAppTemplate::title},           {"body", &InAppTemplate::body},
    {"actor_name", &InAppTemplate::actor_name}, {"actor_picture_url", &InAppTemplate::actor_picture_url},
    {"image_url", &InAppTemplate::image_url},   {"action_link", &InAppTemplate::action_link},
    {"badge", &InAppTemplate::badge},
};

std::string TemplateToJson(const InAppTemplate& in_app) {
  Json json = Json::object();
  for (const auto& [name, field] : kTemplateFields) {
    if (!(in_app.*field).empty()) json[name] = in_app.*field;
  }
  return json.dump();
}

InAppTemplate TemplateFromJson(absl::string_view text) {
  const Json json = Json::parse(text);
  InAppTemplate in_app;
  for (const auto& [name, field] : kTemplateFields) in_app.*field = json.value(name, std::string());
  return in_app;
}

std::string MicrosecondsText(absl::Duration duration) { return absl::StrCat(absl::ToInt64Microseconds(duration)); }

// As a parameter: NULL if empty.
constexpr PgStatement kVersion = {"catalogue_version", "SELECT version FROM catalogue_version"};

constexpr PgStatement kLoadTypes = {"load_types", R"sql(
  SELECT app_id, name, lane, exchange, routing_key, channels, retention_days, critical, in_app,
         (extract(epoch FROM ttl) * 1e6)::bigint AS ttl_us, dedupe_key,
         (extract(epoch FROM dedupe_window) * 1e6)::bigint AS dedupe_us, track_interactions, unsubscribable, at_most_once,
         category, required, policy
  FROM types ORDER BY app_id, name
)sql"};

constexpr PgStatement kApplyType = {"apply_type", R"sql(
  INSERT INTO types (app_id, name, lane, exchange, routing_key, channels, retention_days, critical, ttl, in_app, dedupe_key, dedupe_window,
                     track_interactions, unsubscribable, at_most_once, category, required, policy)
  VALUES ($1, $2, $3, $4, $5, $6::text[], $7, $8, $9::bigint * interval '1 microsecond', $10::jsonb, $11,
          $12::bigint * interval '1 microsecond', $13, $14, $15, $16, $17, $18::jsonb)
  ON CONFLICT (app_id, name) DO UPDATE SET
    lane = EXCLUDED.lane, exchange = EXCLUDED.exchange, routing_key = EXCLUDED.routing_key, channels = EXCLUDED.channels,
    retention_days = EXCLUDED.retention_days, critical = EXCLUDED.critical, ttl = EXCLUDED.ttl, in_app = EXCLUDED.in_app,
    dedupe_key = EXCLUDED.dedupe_key, dedupe_window = EXCLUDED.dedupe_window,
    track_interactions = EXCLUDED.track_interactions, unsubscribable = EXCLUDED.unsubscribable,
    at_most_once = EXCLUDED.at_most_once, category = EXCLUDED.category, required = EXCLUDED.required,
    policy = EXCLUDED.policy, updated_at = now()
)sql"};

constexpr PgStatement kLoadAppPolicies = {"load_app_policies", R"sql(
  SELECT a.app_id, a.app_rate, a.app_burst, a.sender_rate, a.sender_burst, a.runaway_per_minute, a.sandbox, a.clock_offset,
         (SELECT coalesce(json_agg(json_build_object('scope', scope, 'name', name, 'channel', channel, 'choice', choice)
                                   ORDER BY scope, name, channel), '[]')
          FROM app_preferences p WHERE p.app_id = a.app_id) AS preferences,
         (SELECT coalesce(json_agg(sender_id), '[]') FROM tripped_senders t WHERE t.app_id = a.app_id) AS tripped
  FROM apps a
  WHERE a.app_rate > 0 OR a.sender_rate > 0 OR a.runaway_per_minute > 0 OR a.sandbox
    OR EXISTS (SELECT FROM tripped_senders t WHERE t.app_id = a.app_id)
    OR EXISTS (SELECT FROM app_preferences p WHERE p.app_id = a.app_id)
  ORDER BY a.app_id
)sql"};

SendLimits ToLimits(const pqxx::row& row) {
  return {.app_rate = row["app_rate"].as<int64_t>(),
          .app_burst = row["app_burst"].as<int64_t>(),
          .sender_rate = row["sender_rate"].as<int64_t>(),
          .sender_burst = row["sender_burst"].as<int64_t>(),
          .runaway_per_minute = row["runaway_per_minute"].as<int64_t>()};
}

absl::StatusOr<NotificationType> ToType(const pqxx::row& row) {
  NotificationType type;
  type.app = AppId(row["app_id"].as<int64_t>());
  type.name = OwnedText(row["name"]);
  type.lane = ParseLane(Text(row["lane"])).value_or(Lane::kSocial);
  type.exchange = OwnedText(row["exchange"]);
  type.routing_key = OwnedText(row["routing_key"]);
  type.channels = ParseChannels(row["channels"]);
  type.retention_days = row["retention_days"].as<int>();
  type.critical = row["critical"].as<bool>();
  if (!row["ttl_us"].is_null()) type.ttl = absl::Microseconds(row["ttl_us"].as<int64_t>());
  type.in_app = TemplateFromJson(Text(row["in_app"]));
  type.dedupe_key = OwnedText(row["dedupe_key"]);
  if (!row["dedupe_us"].is_null()) type.dedupe_window = absl::Microseconds(row["dedupe_us"].as<int64_t>());
  type.track_interactions = row["track_interactions"].as<bool>();
  type.unsubscribable = row["unsubscribable"].as<bool>();
  type.at_most_once = row["at_most_once"].as<bool>();
  ASSIGN_OR_RETURN(type.policy, DecodePolicy(Text(row["policy"])));
  type.policy.category = OwnedText(row["category"]);
  type.policy.required = row["required"].as<bool>();
  return type;
}

constexpr PgStatement kFindApp = {"find_app", R"sql(
  SELECT a.app_id, a.name, a.app_key, a.scopes, (extract(epoch FROM a.created_at) * 1e6)::bigint AS created_us,
         a.shared_audience_threshold, a.default_locale, a.app_rate, a.app_burst, a.sender_rate, a.sender_burst,
         a.runaway_per_minute, a.sandbox, a.clock_offset, s.secret_hash
  FROM apps a
  LEFT JOIN LATERAL (SELECT secret_hash FROM app_secrets s WHERE s.app_id = a.app_id ORDER BY secret_id DESC LIMIT 2) AS s ON true
  WHERE a.app_key = $1
)sql"};

// What is NULL stays as it is.
constexpr PgStatement kUpdateApp = {"update_app", R"sql(
  UPDATE apps SET shared_audience_threshold = coalesce($2::bigint, shared_audience_threshold),
                  default_locale = coalesce($3, default_locale), app_rate = coalesce($4::bigint, app_rate),
                  app_burst = coalesce($5::bigint, app_burst), sender_rate = coalesce($6::bigint, sender_rate),
                  sender_burst = coalesce($7::bigint, sender_burst),
                  runaway_per_minute = coalesce($8::bigint, runaway_per_minute), sandbox = sandbox OR $9
  WHERE app_key = $1
  RETURNING app_id, name, app_key, scopes, (extract(epoch FROM created_at) * 1e6)::bigint AS created_us, shared_audience_threshold,
            default_locale, app_rate, app_burst, sender_rate, sender_burst, runaway_per_minute, sandbox, clock_offset
)sql"};

// No row: the app is not a sandbox.
constexpr PgStatement kMoveClock = {"move_clock", R"sql(
  UPDATE apps SET clock_offset = clock_offset + $2 WHERE app_id = $1 AND sandbox
  RETURNING clock_offset, (extract(epoch FROM now()) * 1e6)::bigint + clock_offset AS app_us
)sql"};

// What waits for a time of the app's; what waits for a provider waits for ours.
constexpr PgStatement kIsUndecided = {"is_undecided", R"sql(
  SELECT EXISTS (
    SELECT FROM apps a JOIN notifications n USING (app_id)
    WHERE a.app_id = $1 AND a.sandbox AND n.state = 'accepted'
      AND n.notification_id > uuid_floor(now() - interval '10 seconds')
      AND NOT EXISTS (
        SELECT FROM deliveries d
        WHERE d.notification_id = n.notification_id AND d.retention_days = n.retention_days))
)sql"};

constexpr PgStatement kMoveWaiting = {"move_waiting", R"sql(
  WITH moved AS (
    UPDATE schedules SET due_at = due_at - $2::bigint * interval '1 microsecond'
    WHERE app_id = $1 AND cause IN ('hold', 'send_time', 'digest', 'window')
    RETURNING due_at
  )
  SELECT count(*) FROM moved WHERE due_at <= now() AND due_at + $2::bigint * interval '1 microsecond' > now()
)sql"};

std::vector<std::string> ParseScopes(const pqxx::field& field) {
  absl::string_view text = Text(field);
  absl::ConsumePrefix(&text, "{");
  absl::ConsumeSuffix(&text, "}");
  return absl::StrSplit(text, ',', absl::SkipEmpty());
}

App ToApp(const pqxx::row& row) {
  return {.id = AppId(row["app_id"].as<int64_t>()),
          .name = OwnedText(row["name"]),
          .key = OwnedText(row["app_key"]),
          .scopes = ParseScopes(row["scopes"]),
          .create_time = TimeOf(row["created_us"]),
          .shared_audience_threshold = row["shared_audience_threshold"].as<int64_t>(),
          .default_locale = OwnedText(row["default_locale"]),
          .limits = ToLimits(row),
          .sandbox = row["sandbox"].as<bool>(),
          .clock_offset = absl::Microseconds(row["clock_offset"].as<int64_t>())};
}

}  // namespace

absl::StatusOr<int64_t> PostgresCatalogStore::Version() {
  int64_t version = 0;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    version = session.Execute(transaction, kVersion)[0][0].as<int64_t>();
  }));
  return version;
}

absl::StatusOr<std::vector<NotificationType>> PostgresCatalogStore::LoadTypes() {
  pqxx::result rows;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    rows = session.Execute(transaction, kLoadTypes);
  }));
  std::vector<NotificationType> types;
  for (const auto& row : rows) {
    ASSIGN_OR_RETURN(NotificationType type, ToType(row));
    types.push_back(std::move(type));
  }
  return types;
}

absl::StatusOr<std::vector<AppPolicy>> PostgresCatalogStore::LoadAppPolicies() {
  pqxx::result rows;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    rows = session.Execute(transaction, kLoadAppPolicies);
  }));
  std::vector<AppPolicy> policies;
  for (const auto& row : rows) {
    ASSIGN_OR_RETURN(std::vector<Preference> preferences, DecodePreferences(Text(row["preferences"])));
    policies.push_back({.app = AppId(row["app_id"].as<int64_t>()),
                        .preferences = std::move(preferences),
                        .limits = ToLimits(row),
                        .sandbox = row["sandbox"].as<bool>(),
                        .clock_offset = absl::Microseconds(row["clock_offset"].as<int64_t>()),
                        .tripped = Json::parse(Text(row["tripped"])).get<std::set<std::string, std::less<>>>()});
  }
  return policies;
}

absl::Status PostgresCatalogStore::Apply(absl::Span<const NotificationType> types) {
  return pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    // First: it makes one change wait for another before either has locked a type.
    transaction.exec("UPDATE catalogue_version SET version = version + 1");
    for (const NotificationType& type : types) {
      const std::string ttl = type.ttl.has_value() ? MicrosecondsText(*type.ttl) : "";
      const std::string window = type.dedupe_key.empty() ? "" : MicrosecondsText(type.dedupe_window);
      session.Execute(transaction, kApplyType, type.app.value(), type.name, std::string(ToString(type.lane)),
                      type.exchange, type.routing_key, ChannelsLiteral(type.channels), type.retention_days,
                      type.critical, OrNull(ttl), TemplateToJson(type.in_app), OrNull(type.dedupe_key), OrNull(window),
                      type.track_interactions, type.unsubscribable, type.at_most_once, type.policy.category,
                      type.policy.required, EncodePolicy(type.policy));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<AppCredentials> PostgresAppStore::Find(const std::string& app_key) {
  AppCredentials found;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    found = {};
    for (const auto& row : session.Execute(transaction, kFindApp, app_key)) {
      found.app = ToApp(row);
      if (!row["secret_hash"].is_null()) found.secret_hashes.push_back(BytesOf(row["secret_hash"]));
    }
  }));
  if (found.app.key.empty()) return error::NotFound("app", app_key);
  return found;
}

absl::StatusOr<App> PostgresAppStore::Create(const App& app, const std::string& secret_hash) {
  PgArray scopes, hash;
  for (const std::string& scope : app.scopes) scopes.Add(scope);
  hash.AddBytes(secret_hash);
  App created;
  const absl::Status status = pool_->RunTransaction([&](PgSession&, pqxx::work& transaction) {
    const pqxx::result rows = transaction.exec_params(
        "INSERT INTO apps (name, app_key, scopes) VALUES ($1, $2, $3::text[]) "
        "RETURNING app_id, name, app_key, scopes, (extract(epoch FROM created_at) * 1e6)::bigint AS created_us, "
        "shared_audience_threshold, default_locale, app_rate, app_burst, sender_rate, sender_burst, "
        "runaway_per_minute, "
        "sandbox, clock_offset",
        app.name, app.key, scopes.str());
    created = ToApp(rows[0]);
    transaction.exec_params("INSERT INTO app_secrets (app_id, secret_hash) VALUES ($1, ($2::bytea[])[1])",
                            created.id.value(), hash.str());
    return absl::OkStatus();
  });
  if (absl::IsAlreadyExists(status)) return error::AlreadyExists("app", app.name);
  RETURN_IF_ERROR(status);
  return created;
}

absl::StatusOr<App> PostgresAppStore::Update(const std::string& app_key, const AppChanges& changes) {
  const auto limit = [&](int64_t SendLimits::*field) {
    return changes.limits.has_value() ? std::optional<int64_t>((*changes.limits).*field) : std::nullopt;
  };
  absl::StatusOr<App> updated = error::NotFound("app", app_key);
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    // First, as every change that processes follow.
    transaction.exec("UPDATE catalogue_version SET version = version + 1");
    for (const auto& row : session.Execute(
             transaction, kUpdateApp, app_key, changes.shared_audience_threshold, OrNull(changes.default_locale),
             limit(&SendLimits::app_rate), limit(&SendLimits::app_burst), limit(&SendLimits::sender_rate),
             limit(&SendLimits::sender_burst), limit(&SendLimits::runaway_per_minute), changes.make_sandbox)) {
      updated = ToApp(row);
    }
    return absl::OkStatus();
  }));
  return updated;
}

absl::Status PostgresAppStore::AddSecret(const std::string& app_key, const std::string& secret_hash) {
  PgArray hash;
  hash.AddBytes(secret_hash);
  return pool_->RunTransaction([&](PgSession&, pqxx::work& transaction) -> absl::Status {
    const pqxx::result app = transaction.exec_params("SELECT app_id FROM apps WHERE app_key = $1 FOR UPDATE", app_key);
    if (app.empty()) return error::NotFound("app", app_key);
    const int64_t id = app[0][0].as<int64_t>();
    transaction.exec_params("INSERT INTO app_secrets (app_id, secret_hash) VALUES ($1, ($2::bytea[])[1])", id,
                            hash.str());
    transaction.exec_params(
        "DELETE FROM app_secrets WHERE app_id = $1 AND secret_id NOT IN "
        "(SELECT secret_id FROM app_secrets WHERE app_id = $1 ORDER BY secret_id DESC LIMIT 2)",
        id);
    return absl::OkStatus();
  });
}

absl::StatusOr<bool> PostgresAppStore::HasUndecided(AppId app) {
  bool undecided = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    undecided = session.Execute(transaction, kIsUndecided, app.value())[0][0].as<bool>();
  }));
  return undecided;
}

absl::StatusOr<MovedClock> PostgresAppStore::AdvanceClock(AppId app, absl::Duration by) {
  MovedClock moved;
  const int64_t by_us = absl::ToInt64Microseconds(by);
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    // First, as every change that processes follow.
    transaction.exec("UPDATE catalogue_version SET version = version + 1");
    const pqxx::result clock = session.Execute(transaction, kMoveClock, app.value(), by_us);
    if (clock.empty()) return error::NotASandbox();
    if (absl::Microseconds(clock[0]["clock_offset"].as<int64_t>()) > limits::kMaxClockOffset) {
      return error::InvalidField("by", "must leave the app's clock less than 100 years ahead");
    }
    moved.app_time = TimeOf(clock[0]["app_us"]);
    moved.due = session.Execute(transaction, kMoveWaiting, app.value(), by_us)[0][0].as<int64_t>();
    return absl::OkStatus();
  }));
  return moved;
}

}  // namespace carillon
