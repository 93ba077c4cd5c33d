// The part of NotificationService that is about what is sent again and again.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/ports/recurrence_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/ingest/recurrence_ticker.h"

namespace carillon {

// Checks, acts and answers; one call each. Thread-safe. Blocks for PostgreSQL.
class RecurrenceRequests {
 public:
  RecurrenceRequests(std::shared_ptr<RecurrenceStore> store, const Catalogue& catalogue)
      : store_(std::move(store)), catalogue_(catalogue) {}

  // `now`: by the real clock.
  absl::Status Create(AppId app, absl::Time now, const v1::CreateRecurrenceRequest& request,
                      v1::CreateRecurrenceResponse* response);
  absl::Status List(AppId app, const v1::ListRecurrencesRequest& request, v1::ListRecurrencesResponse* response);
  absl::Status Delete(AppId app, const v1::DeleteRecurrenceRequest& request, v1::DeleteRecurrenceResponse* response);

 private:
  const std::shared_ptr<RecurrenceStore> store_;
  const Catalogue& catalogue_;
};

// What it sends at this time, checked like a request of this moment: a type may be gone.
// UNAVAILABLE while the catalogue has not been read.
absl::StatusOr<Occurrence> PrepareOccurrence(const DueRecurrence& due, absl::Time now, const Catalogue& catalogue);

}  // namespace carillon
