// DeliveryStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/delivery_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresDeliveryStore final : public DeliveryStore {
 public:
  explicit PostgresDeliveryStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<std::vector<Contacts>> ReadContacts(absl::Span<const FeedKey> keys) override;
  absl::StatusOr<int> DecideAgain(absl::Span<const Redecision> decisions) override;
  absl::StatusOr<std::vector<ClaimResult>> Claim(absl::Span<const ClaimRequest> requests,
                                                 absl::Duration lease) override;
  absl::Status Record(absl::Span<const DeliveryUpdate> updates) override;
  absl::StatusOr<int> ReleaseHeld(AppId app, Channel channel, Lane lane, int limit) override;
  absl::StatusOr<std::vector<AppId>> AppsWithHeld(Channel channel, Lane lane) override;
  absl::StatusOr<std::vector<DeliveryRecord>> List(AppId app, const NotificationId& id) override;
  absl::StatusOr<int> RequeueIdle(Lane lane, Channel channel, absl::Time idle_since, int limit) override;
  absl::StatusOr<int> ForgetKept(absl::Time sent_before, int limit) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
