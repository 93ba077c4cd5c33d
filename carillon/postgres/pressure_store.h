// PressureStore on PostgreSQL.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "carillon/ports/pressure_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresPressureStore final : public PressureStore {
 public:
  explicit PostgresPressureStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::Status Report(absl::Span<const QueueReport> reports) override;
  absl::StatusOr<PressureFacts> Read(absl::Span<const std::string> queues) override;
  absl::StatusOr<int> ForgetReports(absl::Duration age) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
