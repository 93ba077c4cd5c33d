// ExplainNotification: what was written down about a notification, as the gates that it
// went through.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/explain_store.h"
#include "carillon/ports/notification_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/notification_service.pb.h"

namespace carillon {

// Thread-safe.
class Explainer {
 public:
  struct Deps {
    std::shared_ptr<NotificationStore> store;
    std::shared_ptr<DeliveryStore> deliveries;
    std::shared_ptr<ExplainStore> facts;
    const Catalogue& catalogue;
  };

  explicit Explainer(Deps deps) : deps_(std::move(deps)) {}

  // NOT_FOUND as GetNotification. Blocks for a few round trips.
  absl::Status Explain(AppId app, const v1::ExplainNotificationRequest& request,
                       v1::ExplainNotificationResponse* response) const;

 private:
  const Deps deps_;
};

// What is known of a notification.
struct StoredStory {
  const NotificationRecord& record;
  absl::Span<const DeliveryRecord> deliveries;
  const NotificationFacts& facts;
  bool critical = false;  // Its type is.
};

// Everything but response.notification. Pure.
void FillExplanation(const StoredStory& story, v1::ExplainNotificationResponse* response);

}  // namespace carillon
