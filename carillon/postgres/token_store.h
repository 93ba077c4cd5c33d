// TokenStore on PostgreSQL: table provider_tokens.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "carillon/ports/token_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresTokenStore final : public TokenStore {
 public:
  // How tokens are sealed and opened: MasterKey's Seal and Open. The context names
  // the row. Thread-safe.
  struct Sealer {
    std::function<std::string(absl::string_view plain, absl::string_view context)> seal;
    std::function<absl::StatusOr<std::string>(absl::string_view sealed, absl::string_view context)> open;
  };

  PostgresTokenStore(std::shared_ptr<PgPool> pool, Sealer sealer)
      : pool_(std::move(pool)), sealer_(std::move(sealer)) {}

  absl::StatusOr<std::optional<SharedToken>> Find(AppId app, const std::string& token_key) override;
  absl::StatusOr<SharedToken> Put(AppId app, const std::string& token_key, const SharedToken& token,
                                  absl::Time replace_older_than) override;

 private:
  absl::StatusOr<SharedToken> Unseal(const pqxx::row& row, absl::string_view context) const;

  const std::shared_ptr<PgPool> pool_;
  const Sealer sealer_;
};

}  // namespace carillon
