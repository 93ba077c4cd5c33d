#include "carillon/postgres/provider_store.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// $1 and $2 NULL: of all apps, of all channels.
constexpr PgStatement kListProviders = {"list_providers", R"sql(
  SELECT app_id, channel, name, position, sealed, (extract(epoch FROM updated_at) * 1e6)::bigint AS updated_us
  FROM providers WHERE ($1::bigint IS NULL OR app_id = $1) AND ($2::text IS NULL OR channel = $2)
  ORDER BY app_id, channel, position
)sql"};

// A row that stays as it is keeps its time; of all others the health goes too. One that
// is misconfigured, or out and asked by nobody any more, does not stay: to set it again
// says that it was mended, and while the one before it works nothing else would.
constexpr PgStatement kSetProviders = {"set_providers", R"sql(
  WITH wanted AS MATERIALIZED (
    SELECT name, sealed, position FROM unnest($3::text[], $4::bytea[]) WITH ORDINALITY AS w (name, sealed, position)
  ), kept AS MATERIALIZED (
    SELECT p.name FROM providers p JOIN wanted w USING (name, sealed, position)
    WHERE p.app_id = $1 AND p.channel = $2 AND p.name NOT IN (
      SELECT h.name FROM provider_health h WHERE h.app_id = $1 AND h.channel = $2
        AND (h.misconfigured OR (h.breaker = 'open' AND h.retry_at < now())))
  ), forgotten AS (
    DELETE FROM provider_health WHERE app_id = $1 AND channel = $2 AND name NOT IN (SELECT name FROM kept)
  ), removed AS (
    DELETE FROM providers WHERE app_id = $1 AND channel = $2 AND name NOT IN (SELECT name FROM wanted)
  )
  INSERT INTO providers (app_id, channel, name, sealed, position)
  SELECT $1, $2, name, sealed, position FROM wanted WHERE name NOT IN (SELECT name FROM kept)
  ON CONFLICT (app_id, channel, name) DO UPDATE SET
    sealed = EXCLUDED.sealed, position = EXCLUDED.position, updated_at = clock_timestamp()
)sql"};

constexpr PgStatement kReadHealth = {"read_provider_health", R"sql(
  SELECT app_id, channel, name, lane, breaker, misconfigured, error,
         (extract(epoch FROM since) * 1e6)::bigint AS since_us, (extract(epoch FROM retry_at) * 1e6)::bigint AS retry_us
  FROM provider_health WHERE app_id = $1 ORDER BY channel, name, lane
)sql"};

constexpr PgStatement kReadOpen = {"read_open_breakers", R"sql(
  SELECT app_id, channel, name, lane, breaker, misconfigured, error,
         (extract(epoch FROM since) * 1e6)::bigint AS since_us, (extract(epoch FROM retry_at) * 1e6)::bigint AS retry_us
  FROM provider_health WHERE lane = $1 AND channel = $2 AND breaker <> 'closed'
)sql"};

// Locked in the order of the key, so that two writers can't wait for each other.
constexpr PgStatement kWriteHealth = {"write_provider_health", R"sql(
  INSERT INTO provider_health AS old (app_id, channel, name, lane, breaker, misconfigured, error, retry_at)
  SELECT h.app_id, h.channel, h.name, h.lane, h.breaker, h.misconfigured, h.error,
         timestamptz 'epoch' + h.retry_us * interval '1 microsecond'
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::text[], $8::bigint[])
       AS h (app_id, channel, name, lane, breaker, misconfigured, error, retry_us)
  JOIN providers p ON p.app_id = h.app_id AND p.channel = h.channel AND p.name = h.name
  ORDER BY h.app_id, h.channel, h.name, h.lane
  ON CONFLICT (app_id, channel, name, lane) DO UPDATE SET
    breaker = EXCLUDED.breaker, misconfigured = EXCLUDED.misconfigured, error = EXCLUDED.error,
    retry_at = EXCLUDED.retry_at, since = CASE WHEN old.breaker = EXCLUDED.breaker THEN old.since ELSE EXCLUDED.since END
)sql"};

StoredProvider ToProvider(const pqxx::row& row) {
  return {.app = AppId(row["app_id"].as<int64_t>()),
          .channel = ParseChannel(Text(row["channel"])).value_or(Channel::kEmail),
          .name = OwnedText(row["name"]),
          .position = row["position"].as<int>(),
          .sealed = BytesOf(row["sealed"]),
          .update_time = TimeOf(row["updated_us"])};
}

ProviderHealth ToHealth(const pqxx::row& row) {
  ProviderHealth health{.app = AppId(row["app_id"].as<int64_t>()),
                        .channel = ParseChannel(Text(row["channel"])).value_or(Channel::kEmail),
                        .name = OwnedText(row["name"]),
                        .lane = ParseLane(Text(row["lane"])).value_or(Lane::kSocial),
                        .breaker = ParseBreakerState(Text(row["breaker"])).value_or(BreakerState::kClosed),
                        .misconfigured = row["misconfigured"].as<bool>(),
                        .error = OwnedText(row["error"]),
                        .since = TimeOf(row["since_us"]),
                        .retry_time = {}};
  if (!row["retry_us"].is_null()) health.retry_time = TimeOf(row["retry_us"]);
  return health;
}

std::vector<StoredProvider> ReadProviders(PgSession& session, pqxx::transaction_base& transaction,
                                          std::optional<AppId> app, std::optional<Channel> channel) {
  const std::string app_text = app.has_value() ? absl::StrCat(app->value()) : "";
  const std::string channel_text = channel.has_value() ? std::string(ToString(*channel)) : "";
  std::vector<StoredProvider> providers;
  for (const auto& row : session.Execute(transaction, kListProviders, OrNull(app_text), OrNull(channel_text))) {
    providers.push_back(ToProvider(row));
  }
  return providers;
}

}  // namespace

absl::StatusOr<std::vector<StoredProvider>> PostgresProviderStore::Set(AppId app, Channel channel, Decide decide) {
  std::vector<StoredProvider> set;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    // First: it makes one change wait for another.
    transaction.exec("UPDATE catalogue_version SET version = version + 1");
    ASSIGN_OR_RETURN(const std::vector<StoredProvider> wanted,
                     decide(ReadProviders(session, transaction, app, channel)));
    PgArray names, sealed;
    for (const StoredProvider& provider : wanted) {
      names.Add(provider.name);
      sealed.AddBytes(provider.sealed);
    }
    session.Execute(transaction, kSetProviders, app.value(), std::string(ToString(channel)), names.str(), sealed.str());
    set = ReadProviders(session, transaction, app, channel);
    return absl::OkStatus();
  }));
  return set;
}

absl::StatusOr<std::vector<StoredProvider>> PostgresProviderStore::List(AppId app, std::optional<Channel> channel) {
  std::vector<StoredProvider> providers;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    providers = ReadProviders(session, transaction, app, channel);
  }));
  return providers;
}

absl::StatusOr<std::vector<StoredProvider>> PostgresProviderStore::LoadAll() {
  std::vector<StoredProvider> providers;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    providers = ReadProviders(session, transaction, std::nullopt, std::nullopt);
  }));
  return providers;
}

absl::StatusOr<std::vector<ProviderHealth>> PostgresProviderStore::ReadHealth(AppId app) {
  std::vector<ProviderHealth> health;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    health.clear();
    for (const auto& row : session.Execute(transaction, kReadHealth, app.value())) health.push_back(ToHealth(row));
  }));
  return health;
}

absl::StatusOr<std::vector<ProviderHealth>> PostgresProviderStore::ReadOpen(Lane lane, Channel channel) {
  std::vector<ProviderHealth> health;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    health.clear();
    for (const auto& row :
         session.Execute(transaction, kReadOpen, std::string(ToString(lane)), std::string(ToString(channel)))) {
      health.push_back(ToHealth(row));
    }
  }));
  return health;
}

absl::Status PostgresProviderStore::WriteHealth(absl::Span<const ProviderHealth> health) {
  if (health.empty()) return absl::OkStatus();
  PgArray apps, channels, names, lanes, breakers, misconfigured, errors, retry_times;
  for (const ProviderHealth& one : health) {
    apps.Add(one.app.value());
    channels.Add(ToString(one.channel));
    names.Add(one.name);
    lanes.Add(ToString(one.lane));
    breakers.Add(ToString(one.breaker));
    misconfigured.Add(one.misconfigured ? "t" : "f");
    errors.AddOrNull(StorableText(one.error, limits::kMaxErrorBytes));
    one.retry_time.has_value() ? retry_times.Add(*one.retry_time) : retry_times.AddNull();
  }
  return pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kWriteHealth, apps.str(), channels.str(), names.str(), lanes.str(), breakers.str(),
                    misconfigured.str(), errors.str(), retry_times.str());
  });
}

}  // namespace carillon
