// TemplateStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/template_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresTemplateStore final : public TemplateStore {
 public:
  explicit PostgresTemplateStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<std::vector<StoredTemplate>> Apply(absl::Span<const StoredTemplate> templates) override;
  absl::StatusOr<StoredTemplate> Activate(const TemplateKey& key, int version) override;
  absl::StatusOr<std::vector<StoredTemplate>> List(const ListQuery& query) override;
  absl::StatusOr<std::vector<StoredTemplate>> LoadActive() override;
  absl::StatusOr<Candidates> FindCandidates(AppId app, const std::string& type, Channel channel) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
