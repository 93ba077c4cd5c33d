// What a lane worker does when a window ends in which reactions were gathered: one message
// tells of all of them outside the feed.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "carillon/domain/event.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe.
class WindowHandler {
 public:
  struct Deps {
    std::shared_ptr<ReactionStore> reactions;
    std::shared_ptr<DeliveryStore> deliveries;
    OutboxWaker& waker;
    Catalogue& catalogue;
    DecisionMaker& decisions;
    LivePublisher& live;
    const Clock& clock;
    Metrics& metrics;
    Lane lane;
  };

  explicit WindowHandler(const Deps& deps);

  // Decides on the external channels by the settings and caps of now, and begins the
  // deliveries, in one transaction for all. Of windows that nobody is left in, and those that
  // have ended before, nothing is done. NOT_FOUND if a type is not in the catalogue; an
  // infrastructure failure is safe to repeat. Blocks for at most a few seconds.
  absl::Status Handle(absl::Span<const DueWindow> windows);

 private:
  // A window that ends, and what is decided about it.
  struct Work {
    const DueWindow* window = nullptr;
    std::shared_ptr<const NotificationType> type;
    GatheredWindow gathered;  // As it was before it was closed.
    Notification asked;       // What is decided on.
    Decision decision;
    Contacts contacts;
    WindowEnd end;
  };

  absl::StatusOr<std::vector<Work>> Read(absl::Span<const DueWindow> windows);
  absl::Status Decide(std::vector<Work>& works);
  // What a cap or quiet hours leave to the feed alone, if it is not there yet: the ends of
  // the works point to it.
  static std::vector<FeedAddition> ShowInFeed(std::vector<Work>& works);

  const Deps deps_;
  prometheus::Counter& ended_;
};

}  // namespace carillon
