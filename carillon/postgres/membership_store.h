// MembershipStore on PostgreSQL.
#pragma once

#include <memory>
#include <utility>

#include "carillon/ports/membership_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Thread-safe.
class PostgresMembershipStore final : public MembershipStore {
 public:
  explicit PostgresMembershipStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<int> Add(AppId app, GroupKind kind, absl::Span<const Membership> memberships) override;
  absl::StatusOr<int> Remove(AppId app, GroupKind kind, absl::Span<const Membership> memberships) override;
  absl::StatusOr<std::vector<std::string>> List(const Group& group, const std::string& after, int limit) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
