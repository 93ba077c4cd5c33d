// All that a worker does with what comes to its lane's queues of the first hop, put
// together: stores, what is known of settings and caps, handlers.
#pragma once

#include <memory>
#include <string>

#include "carillon/domain/lane.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/postgres/session.h"
#include "carillon/postgres/settings_listener.h"
#include "carillon/postgres/settings_store.h"
#include "carillon/redis/options.h"
#include "carillon/redis/redis_caps.h"
#include "carillon/runtime/cap_windows.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/metrics.h"
#include "carillon/runtime/settings_cache.h"
#include "workers/handlers/digest_handler.h"
#include "workers/handlers/fanout_handler.h"
#include "workers/handlers/gathering_handler.h"
#include "workers/handlers/lane_handler.h"
#include "workers/handlers/notification_handler.h"
#include "workers/handlers/reaction_handler.h"
#include "workers/handlers/redecision_handler.h"
#include "workers/handlers/window_handler.h"

namespace carillon {

// Listens to changes of settings from its making on.
class MessageHandlers {
 public:
  struct Options {
    Lane lane = Lane::kSocial;
    int page = limits::kFanoutPage;  // Of the lane fanout.
    PgOptions listener;              // Of the connection that hears of settings.
    RedisOptions redis;
  };
  // All outlive it.
  struct Deps {
    std::shared_ptr<PgPool> pool;
    Catalogue& catalogue;
    LivePublisher& live;
    OutboxWaker& waker;
    const Clock& clock;
    Metrics& metrics;
  };

  MessageHandlers(const Options& options, const Deps& deps);

  // That of the lane. Thread-safe.
  BatchHandler& handler() { return handler_; }

 private:
  PostgresSettingsStore settings_store_;
  SettingsCache settings_;
  PostgresSettingsListener settings_listener_;
  RedisCaps shared_caps_;
  CapWindows caps_;
  DecisionMaker decisions_;
  NotificationHandler notifications_;
  ReactionHandler reactions_;
  RedecisionHandler redecisions_;
  DigestHandler digests_;
  GatheringHandler gathering_;
  WindowHandler windows_;
  LaneHandler lane_handler_;
  FanoutHandler fanout_handler_;
  BatchHandler& handler_;
};

}  // namespace carillon
