// TripStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/trip_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresTripStore final : public TripStore {
 public:
  explicit PostgresTripStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::Status Trip(absl::Span<const TrippedSender> senders) override;
  absl::StatusOr<std::vector<TrippedSender>> List(const std::string& app_key, int limit) override;
  absl::StatusOr<bool> Lift(const std::string& app_key, const std::string& sender_id) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
