// ProviderStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/provider_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresProviderStore final : public ProviderStore {
 public:
  explicit PostgresProviderStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<std::vector<StoredProvider>> Set(AppId app, Channel channel, Decide decide) override;
  absl::StatusOr<std::vector<StoredProvider>> List(AppId app, std::optional<Channel> channel) override;
  absl::StatusOr<std::vector<StoredProvider>> LoadAll() override;
  absl::StatusOr<std::vector<ProviderHealth>> ReadHealth(AppId app) override;
  absl::StatusOr<std::vector<ProviderHealth>> ReadOpen(Lane lane, Channel channel) override;
  absl::Status WriteHealth(absl::Span<const ProviderHealth> health) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
