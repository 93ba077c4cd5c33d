// DigestStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/digest_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresDigestStore final : public DigestStore {
 public:
  explicit PostgresDigestStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<DigestContents> Read(const DueDigest& digest, int limit) override;
  absl::StatusOr<DigestResult> Close(const DigestClosing& closing) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
