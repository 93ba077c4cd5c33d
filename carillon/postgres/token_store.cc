#include "carillon/postgres/token_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

constexpr PgStatement kFindToken = {"find_provider_token", R"sql(
  SELECT sealed, (extract(epoch FROM minted_at) * 1e6)::bigint AS minted_us,
         (extract(epoch FROM expires_at) * 1e6)::bigint AS expires_us
  FROM provider_tokens WHERE app_id = $1 AND token_key = $2
)sql"};

// $6: what was minted before is replaced.
constexpr PgStatement kPutToken = {"put_provider_token", R"sql(
  INSERT INTO provider_tokens AS t (app_id, token_key, sealed, minted_at, expires_at)
  VALUES ($1, $2, ($3::bytea[])[1], timestamptz 'epoch' + $4::bigint * interval '1 microsecond',
          timestamptz 'epoch' + $5::bigint * interval '1 microsecond')
  ON CONFLICT (app_id, token_key) DO UPDATE SET
    sealed = EXCLUDED.sealed, minted_at = EXCLUDED.minted_at, expires_at = EXCLUDED.expires_at
  WHERE t.expires_at <= EXCLUDED.minted_at
     OR t.minted_at < timestamptz 'epoch' + $6::bigint * interval '1 microsecond'
)sql"};

std::string ContextOf(AppId app, const std::string& token_key) {
  return absl::StrCat("provider_tokens/", app.value(), "/", token_key);
}

// Within what a timestamptz holds.
int64_t Microseconds(absl::Time time) {
  return absl::ToUnixMicros(std::clamp(time, absl::UnixEpoch(), absl::FromUnixSeconds(253'402'300'799)));
}

}  // namespace

absl::StatusOr<std::optional<SharedToken>> PostgresTokenStore::Find(AppId app, const std::string& token_key) {
  pqxx::result rows;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    rows = session.Execute(transaction, kFindToken, app.value(), token_key);
  }));
  if (rows.empty()) return std::nullopt;
  absl::StatusOr<SharedToken> token = Unseal(rows[0], ContextOf(app, token_key));
  // What was sealed with a key that is gone is as good as nothing.
  if (!token.ok()) return std::nullopt;
  return *std::move(token);
}

absl::StatusOr<SharedToken> PostgresTokenStore::Put(AppId app, const std::string& token_key, const SharedToken& token,
                                                    absl::Time replace_older_than) {
  const std::string context = ContextOf(app, token_key);
  const std::string sealed = BytesLiteral(sealer_.seal(token.token, context));
  absl::StatusOr<SharedToken> stored = error::Internal("nothing was stored");
  // The second time for one that can't be opened: it goes, whatever its age.
  for (const absl::Time limit : {replace_older_than, absl::InfiniteFuture()}) {
    pqxx::result rows;
    // Two statements: the first waits for whoever writes the row, the second sees
    // what was written.
    RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
      session.Execute(transaction, kPutToken, app.value(), token_key, sealed, Microseconds(token.mint_time),
                      Microseconds(token.expire_time), Microseconds(limit));
      rows = session.Execute(transaction, kFindToken, app.value(), token_key);
    }));
    if (rows.empty()) return error::BackendUnavailable("postgresql", "the token was deleted meanwhile");
    stored = Unseal(rows[0], context);
    if (stored.ok()) break;
  }
  return stored;
}

absl::StatusOr<SharedToken> PostgresTokenStore::Unseal(const pqxx::row& row, absl::string_view context) const {
  ASSIGN_OR_RETURN(std::string token, sealer_.open(BytesOf(row["sealed"]), context));
  return SharedToken{
      .token = std::move(token), .mint_time = TimeOf(row["minted_us"]), .expire_time = TimeOf(row["expires_us"])};
}

}  // namespace carillon
