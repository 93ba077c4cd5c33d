// CatalogStore and AppStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/catalog_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresCatalogStore final : public CatalogStore {
 public:
  explicit PostgresCatalogStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<int64_t> Version() override;
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override;
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override;
  absl::Status Apply(absl::Span<const NotificationType> types) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

class PostgresAppStore final : public AppStore {
 public:
  explicit PostgresAppStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<AppCredentials> Find(const std::string& app_key) override;
  absl::StatusOr<App> Create(const App& app, const std::string& secret_hash) override;
  absl::StatusOr<App> Update(const std::string& app_key, const AppChanges& changes) override;
  absl::Status AddSecret(const std::string& app_key, const std::string& secret_hash) override;
  absl::StatusOr<MovedClock> AdvanceClock(AppId app, absl::Duration by) override;
  absl::StatusOr<bool> HasUndecided(AppId app) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
