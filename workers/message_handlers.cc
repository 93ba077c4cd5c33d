#include "workers/message_handlers.h"

#include "carillon/postgres/delivery_store.h"
#include "carillon/postgres/digest_store.h"
#include "carillon/postgres/event_store.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/reaction_store.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

std::function<void(size_t)> CountLocalCaps(Metrics& metrics) {
  prometheus::Counter& local =
      metrics.Counter("carillon_local_caps_total", "Caps asked of this process alone, Redis being away");
  return [&local](size_t asked) { local.Increment(static_cast<double>(asked)); };
}

}  // namespace

MessageHandlers::MessageHandlers(const Options& options, const Deps& deps)
    : settings_store_(deps.pool),
      settings_(settings_store_, limits::kSettingsCacheEntries),
      settings_listener_(options.listener, NewsFor(settings_,
                                                   [](const absl::Status& status) {
                                                     log::Warn("settings.unheard", {{"error", status}});
                                                   })),
      shared_caps_(options.redis, deps.clock),
      caps_(shared_caps_, deps.clock,
            {.max_local_windows = limits::kLocalCapWindows, .on_local = CountLocalCaps(deps.metrics)}),
      decisions_({.catalogue = deps.catalogue, .settings = settings_, .caps = caps_, .clock = deps.clock}),
      notifications_({.feeds = std::make_shared<PostgresFeedStore>(deps.pool),
                      .deliveries = std::make_shared<PostgresDeliveryStore>(deps.pool),
                      .waker = deps.waker,
                      .catalogue = deps.catalogue,
                      .decisions = decisions_,
                      .live = deps.live,
                      .clock = deps.clock,
                      .metrics = deps.metrics,
                      .lane = options.lane}),
      reactions_({.store = std::make_shared<PostgresReactionStore>(deps.pool),
                  .catalogue = deps.catalogue,
                  .live = deps.live,
                  .clock = deps.clock,
                  .metrics = deps.metrics}),
      redecisions_({.deliveries = std::make_shared<PostgresDeliveryStore>(deps.pool),
                    .waker = deps.waker,
                    .catalogue = deps.catalogue,
                    .decisions = decisions_,
                    .live = deps.live,
                    .clock = deps.clock,
                    .metrics = deps.metrics,
                    .lane = options.lane}),
      digests_({.store = std::make_shared<PostgresDigestStore>(deps.pool),
                .waker = deps.waker,
                .catalogue = deps.catalogue,
                .decisions = decisions_,
                .clock = deps.clock,
                .metrics = deps.metrics}),
      gathering_({.catalogue = deps.catalogue,
                  .decisions = decisions_,
                  .reactions = reactions_,
                  .notifications = notifications_,
                  .clock = deps.clock,
                  .metrics = deps.metrics,
                  .lane = options.lane}),
      windows_({.reactions = std::make_shared<PostgresReactionStore>(deps.pool),
                .deliveries = std::make_shared<PostgresDeliveryStore>(deps.pool),
                .waker = deps.waker,
                .catalogue = deps.catalogue,
                .decisions = decisions_,
                .live = deps.live,
                .clock = deps.clock,
                .metrics = deps.metrics,
                .lane = options.lane}),
      lane_handler_({.notifications = notifications_,
                     .reactions = reactions_,
                     .redecisions = redecisions_,
                     .digests = digests_,
                     .gathering = gathering_,
                     .windows = windows_}),
      fanout_handler_({.events = std::make_shared<PostgresEventStore>(deps.pool),
                       .deliveries = std::make_shared<PostgresDeliveryStore>(deps.pool),
                       .catalogue = deps.catalogue,
                       .decisions = decisions_,
                       .live = deps.live,
                       .waker = deps.waker,
                       .clock = deps.clock,
                       .metrics = deps.metrics,
                       .page = options.page}),
      handler_(options.lane == Lane::kFanout ? static_cast<BatchHandler&>(fanout_handler_) : lane_handler_) {}

}  // namespace carillon
