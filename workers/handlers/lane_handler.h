// What the worker of a notification lane does with what it receives:
// notifications go into feeds, reactions into counters.
#pragma once

#include "workers/handlers/notification_handler.h"
#include "workers/handlers/reaction_handler.h"
#include "workers/lane/batch.h"

namespace carillon {

// Thread-safe.
class LaneHandler final : public BatchHandler {
 public:
  // Both outlive it.
  LaneHandler(NotificationHandler& notifications, ReactionHandler& reactions)
      : notifications_(notifications), reactions_(reactions) {}

  absl::StatusOr<std::vector<FailedItem>> Handle(const Batch& batch) override;
  absl::Status CheckHealth() override { return notifications_.CheckHealth(); }

 private:
  absl::Status HandleNotifications(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleReactions(const Batch& batch, std::vector<FailedItem>& failures);

  NotificationHandler& notifications_;
  ReactionHandler& reactions_;
};

}  // namespace carillon
