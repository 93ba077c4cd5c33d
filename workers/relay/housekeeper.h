// What has to be done behind everybody's back: partitions made ahead and dropped
// behind, idempotency keys forgotten, and whatever has been idle too long put into
// the outbox again (a purged queue, a lost disk, a broker restored from yesterday).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "carillon/ports/broker.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/dead_letter_store.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/event_store.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/ports/upkeep_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/metrics.h"
#include "carillon/runtime/outbox_gauges.h"

namespace carillon {

// Owner thread only. Any number of relays may do this at the same time.
class Housekeeper {
 public:
  struct Options {
    absl::Duration interval = absl::Seconds(3);
    // How far ahead partitions are made.
    absl::Duration slices_ahead = absl::Hours(24 * 3);
    std::map<Lane, absl::Duration> idle_bounds;  // Missing ones: DefaultIdleBound.
  };
  struct Deps {
    std::shared_ptr<UpkeepStore> store;
    std::shared_ptr<EventStore> events;
    std::shared_ptr<ReactionStore> reactions;
    std::shared_ptr<DeliveryStore> deliveries;
    std::shared_ptr<DeadLetterStore> dead_letters;
    std::unique_ptr<TopologyAdmin> broker;
    const Catalogue& catalogue;
    const Clock& clock;
    Metrics& metrics;
    const StopSignal& stop;
  };

  Housekeeper(Options options, Deps deps);

  // Until stop.
  void Run();
  // Everything once.
  absl::Status RunOnce();

 private:
  absl::Status MakeSlices();
  absl::Status RetireSlices();
  absl::Status ExpireKeys();
  absl::Status ForgetDigests();
  absl::Status Sweep();
  absl::Status SweepPass(UpkeepStore::Pass pass, absl::Duration age);
  absl::Status RequeueIdle(Lane lane);
  absl::Status RequeueIdleEvents();
  absl::Status RequeueIdleReactions();
  absl::Status RequeueIdleDeliveries();
  absl::Status ForgetKeptMessages();
  absl::Status ExpireEvents();
  // Those of `idle` that no queue can still hold, ready for the outbox.
  absl::StatusOr<std::vector<NewNotification>> ChooseLost(const std::vector<Notification>& idle);
  absl::StatusOr<bool> MayStillHold(const std::string& queue);
  absl::Status MeasureOutbox();
  absl::Status MeasureDeadLetters();
  absl::Status ForgetReplayed();
  absl::Duration IdleBound(Lane lane) const;

  const Options options_;
  const Deps deps_;
  const OutboxGauges outbox_;
  // Where something may die, and how much has.
  std::vector<std::string> queues_;
  std::vector<prometheus::Gauge*> dead_letters_;
  prometheus::Counter& requeued_;
};

}  // namespace carillon
