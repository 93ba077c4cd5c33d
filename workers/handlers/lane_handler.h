// What the worker of a notification lane does with what it receives:
// notifications go into feeds, reactions into counters, what was held is decided on again,
// what was gathered is told.
#pragma once

#include "workers/handlers/gathering_handler.h"
#include "workers/handlers/notification_handler.h"
#include "workers/handlers/reaction_handler.h"
#include "workers/handlers/redecision_handler.h"
#include "workers/handlers/window_handler.h"
#include "workers/lane/batch.h"

namespace carillon {

// Thread-safe.
class LaneHandler final : public BatchHandler {
 public:
  // All outlive it.
  LaneHandler(NotificationHandler& notifications, ReactionHandler& reactions, RedecisionHandler& redecisions,
              GatheringHandler& gathering, WindowHandler& windows)
      : notifications_(notifications),
        reactions_(reactions),
        redecisions_(redecisions),
        gathering_(gathering),
        windows_(windows) {}

  absl::StatusOr<std::vector<FailedItem>> Handle(const Batch& batch) override;
  absl::Status CheckHealth() override { return notifications_.CheckHealth(); }

 private:
  absl::Status HandleNotifications(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleReactions(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleAgain(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleWindows(const Batch& batch, std::vector<FailedItem>& failures);

  NotificationHandler& notifications_;
  ReactionHandler& reactions_;
  RedecisionHandler& redecisions_;
  GatheringHandler& gathering_;
  WindowHandler& windows_;
};

}  // namespace carillon
