// InteractionStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/interaction_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresInteractionStore final : public InteractionStore {
 public:
  explicit PostgresInteractionStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<std::vector<bool>> RecordReceipts(absl::Span<const DeliveryReceipt> receipts) override;
  absl::StatusOr<std::vector<InteractionOutcome>> RecordInteractions(
      absl::Span<const Interaction> interactions) override;
  absl::Status Unsubscribe(const Unsubscription& unsubscription) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
