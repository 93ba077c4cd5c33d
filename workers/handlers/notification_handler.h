// What a lane worker does with notifications: decide, write the feed, begin the
// deliveries of external channels, wake the recipients' streams.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/metrics.h"
#include "workers/handlers/end_to_end.h"

namespace carillon {

// Thread-safe: each call uses a connection of the stores for as long as it runs.
class NotificationHandler {
 public:
  struct Deps {
    std::shared_ptr<FeedStore> feeds;
    std::shared_ptr<DeliveryStore> deliveries;
    OutboxWaker& waker;
    Catalogue& catalogue;
    DecisionMaker& decisions;
    LivePublisher& live;
    const Clock& clock;
    Metrics& metrics;
    Lane lane;
  };

  explicit NotificationHandler(const Deps& deps);

  // Decides about each notification and carries it out in one transaction for all.
  // One status per item: OK also for those that were decided before, INVALID_ARGUMENT for what can never
  // succeed, anything else for what may succeed later. An infrastructure failure
  // (see IsInfrastructureFailure) is returned for the whole: nothing was done,
  // or what was done is safe to repeat. Blocks for at most a few seconds.
  absl::StatusOr<std::vector<absl::Status>> Handle(absl::Span<const Notification> items);

  // OK if what Handle needs can be reached.
  absl::Status CheckHealth() { return deps_.catalogue.Refresh(); }

 private:
  // A notification that is worked on, and what becomes of it.
  struct Work {
    const Notification* item = nullptr;
    std::shared_ptr<const NotificationType> type;
    size_t position = 0;  // In what was asked.
    Decision decision;
    FeedDelivery delivery;
  };

  absl::Status Decide(std::vector<Work>& works);
  // What the feed gets.
  FeedDelivery Show(const Work& work) const;
  // Adds the deliveries of external channels to what was decided.
  absl::Status BeginDeliveries(std::vector<Work>& works);
  absl::StatusOr<std::vector<DeliveryOutcome>> DeliverOneByOne(absl::Span<const FeedDelivery> deliveries,
                                                               std::vector<absl::Status>& statuses);
  void WakeRelay(absl::Span<const FeedDelivery> decisions);
  void WakeStreams(std::vector<FeedDelivery>& deliveries, absl::Span<const DeliveryOutcome> outcomes);

  const Deps deps_;
  prometheus::Counter& delivered_;
  prometheus::Counter& expired_;
  prometheus::Counter& suppressed_;
  prometheus::Counter& repeated_;
  prometheus::Counter& wake_failures_;
  const EndToEnd end_to_end_;
};

}  // namespace carillon
