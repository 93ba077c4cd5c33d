// What a lane worker does with notifications of types that aggregate: they are reactions of
// their actors, and become part of an item that tells of all of them.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/metrics.h"
#include "workers/handlers/end_to_end.h"
#include "workers/handlers/notification_handler.h"
#include "workers/handlers/reaction_handler.h"

namespace carillon {

// Thread-safe.
class GatheringHandler {
 public:
  struct Deps {
    Catalogue& catalogue;
    DecisionMaker& decisions;
    ReactionHandler& reactions;
    NotificationHandler& notifications;
    const Clock& clock;
    Metrics& metrics;
    Lane lane;
  };

  explicit GatheringHandler(const Deps& deps);

  // As NotificationHandler::Handle, which gets all that is not gathered. Of what is,
  // each is decided on: what rules keep from every channel is suppressed, what they keep
  // from the feed alone counts and is not seen there.
  absl::StatusOr<std::vector<absl::Status>> Handle(absl::Span<const Notification> items);

 private:
  // One that is gathered, and its place in what was asked.
  struct Work {
    const Notification* item = nullptr;
    std::shared_ptr<const NotificationType> type;
    size_t position = 0;
  };

  absl::StatusOr<std::vector<Work>> FindGathered(absl::Span<const Notification> items);
  // Fills the statuses of those that are gathered. Returns the places of all others.
  absl::StatusOr<std::vector<size_t>> Gather(absl::Span<const Notification> items, absl::Span<const Work> works,
                                             std::vector<absl::Status>& statuses);
  absl::StatusOr<std::vector<GatheredNotification>> Decide(absl::Span<const Work> works);
  // One of them is at fault: alone, each shows whether it was the one.
  absl::StatusOr<std::vector<Gathered>> GatherOneByOne(absl::Span<GatheredNotification> notifications,
                                                       std::vector<absl::Status>& statuses);
  void Count(absl::Span<const GatheredNotification> notifications, absl::Span<const Gathered> outcomes,
             absl::Span<const absl::Status> statuses);

  const Deps deps_;
  prometheus::Counter& gathered_;
  prometheus::Counter& expired_;
  prometheus::Counter& suppressed_;
  prometheus::Counter& repeated_;
  const EndToEnd end_to_end_;
};

}  // namespace carillon
