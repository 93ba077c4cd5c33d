// What the worker of a notification lane does with what it receives:
// notifications go into feeds, reactions into counters, what was held is decided on
// again, what has gathered is sent.
#pragma once

#include "workers/handlers/digest_handler.h"
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
  struct Parts {
    NotificationHandler& notifications;
    ReactionHandler& reactions;
    RedecisionHandler& redecisions;
    DigestHandler& digests;
    GatheringHandler& gathering;
    WindowHandler& windows;
  };

  explicit LaneHandler(const Parts& parts) : parts_(parts) {}

  absl::StatusOr<std::vector<FailedItem>> Handle(const Batch& batch) override;
  absl::Status CheckHealth() override { return parts_.notifications.CheckHealth(); }

 private:
  absl::Status HandleNotifications(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleReactions(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleAgain(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleDigests(const Batch& batch, std::vector<FailedItem>& failures);
  absl::Status HandleWindows(const Batch& batch, std::vector<FailedItem>& failures);

  const Parts parts_;
};

}  // namespace carillon
