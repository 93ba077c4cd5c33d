// NotificationStore on PostgreSQL.
#pragma once

#include <memory>

#include "carillon/ports/notification_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresNotificationStore final : public NotificationStore {
 public:
  explicit PostgresNotificationStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<std::vector<AcceptOutcome>> Accept(absl::Span<const NewNotification> items,
                                                    bool all_or_nothing) override;
  absl::StatusOr<NotificationRecord> Get(AppId app, const NotificationId& id) override;
  absl::StatusOr<std::vector<NotificationRecord>> List(const ListQuery& query) override;
  absl::Status Cancel(AppId app, const NotificationId& id) override;  // notification_cancel.cc
  absl::Status RecordAttempts(absl::Span<const FailedAttempt> attempts) override;

 private:
  absl::StatusOr<NotificationRecord> GetOfEvent(AppId app, const NotificationId& id);

  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
