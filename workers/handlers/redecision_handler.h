// What a lane worker does with deliveries that were held until now: decides on each once
// more, by the settings and caps of now.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe.
class RedecisionHandler {
 public:
  struct Deps {
    std::shared_ptr<DeliveryStore> deliveries;
    OutboxWaker& waker;
    Catalogue& catalogue;
    DecisionMaker& decisions;
    LivePublisher& live;
    const Clock& clock;
    Metrics& metrics;
    Lane lane;
  };

  explicit RedecisionHandler(const Deps& deps);

  // In one transaction for all. NOT_FOUND if a type is not in the catalogue; an
  // infrastructure failure is safe to repeat. Blocks for at most a few seconds.
  absl::Status Handle(absl::Span<const Delivery> deliveries);

 private:
  const Deps deps_;
  prometheus::Counter& decided_;
};

}  // namespace carillon
