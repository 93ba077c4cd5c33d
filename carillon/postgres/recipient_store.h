// RecipientStore on PostgreSQL.
#pragma once

#include <memory>
#include <utility>

#include "carillon/ports/recipient_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Thread-safe.
class PostgresRecipientStore final : public RecipientStore {
 public:
  explicit PostgresRecipientStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}
  absl::StatusOr<Recipient> Update(const FeedKey& key, const ContactChange& change) override;
  absl::StatusOr<Recipient> Get(const FeedKey& key) override;
  absl::StatusOr<absl::Time> PutDevice(const FeedKey& key, const Device& device) override;
  absl::StatusOr<int> RemoveDevices(const FeedKey& key, absl::Span<const std::string> device_ids) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
