// A lane's handler with all its parts, on stores in memory.
#pragma once

#include <memory>

#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"
#include "workers/handlers/lane_handler.h"

namespace carillon::testing {

struct LaneInMemory {
  // All outlive it; digests have no store, and reactions may have none.
  struct Deps {
    Lane lane = Lane::kSocial;
    Catalogue& catalogue;
    LivePublisher& live;
    const Clock& clock;
    Metrics& metrics;
    std::shared_ptr<ReactionStore> reactions;
  };

  explicit LaneInMemory(const Deps& deps)
      : decisions(deps.catalogue, deps.clock),
        notifications({.feeds = feeds,
                       .deliveries = contacts,
                       .waker = waker,
                       .catalogue = deps.catalogue,
                       .decisions = decisions.maker,
                       .live = deps.live,
                       .clock = deps.clock,
                       .metrics = deps.metrics,
                       .lane = deps.lane}),
        reactions({.store = deps.reactions,
                   .catalogue = deps.catalogue,
                   .live = deps.live,
                   .clock = deps.clock,
                   .metrics = deps.metrics}),
        redecisions({.deliveries = contacts,
                     .waker = waker,
                     .catalogue = deps.catalogue,
                     .decisions = decisions.maker,
                     .live = deps.live,
                     .clock = deps.clock,
                     .metrics = deps.metrics,
                     .lane = deps.lane}),
        digests({.store = nullptr,
                 .waker = waker,
                 .catalogue = deps.catalogue,
                 .decisions = decisions.maker,
                 .clock = deps.clock,
                 .metrics = deps.metrics}),
        gathering({.catalogue = deps.catalogue,
                   .decisions = decisions.maker,
                   .reactions = reactions,
                   .notifications = notifications,
                   .clock = deps.clock,
                   .metrics = deps.metrics,
                   .lane = deps.lane}),
        windows({.reactions = deps.reactions,
                 .deliveries = contacts,
                 .waker = waker,
                 .catalogue = deps.catalogue,
                 .decisions = decisions.maker,
                 .live = deps.live,
                 .clock = deps.clock,
                 .metrics = deps.metrics,
                 .lane = deps.lane}),
        handler({.notifications = notifications,
                 .reactions = reactions,
                 .redecisions = redecisions,
                 .digests = digests,
                 .gathering = gathering,
                 .windows = windows}) {}

  std::shared_ptr<FeedsInMemory> feeds = std::make_shared<FeedsInMemory>();
  std::shared_ptr<ContactsInMemory> contacts = std::make_shared<ContactsInMemory>();
  WokenLanes waker;
  DecisionsInMemory decisions;
  NotificationHandler notifications;
  ReactionHandler reactions;
  RedecisionHandler redecisions;
  DigestHandler digests;
  GatheringHandler gathering;
  WindowHandler windows;
  LaneHandler handler;
};

}  // namespace carillon::testing
