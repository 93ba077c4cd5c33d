// What a lane worker does with reactions: counts them and changes the items that
// tell of them.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "carillon/domain/event.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe: each call uses a connection of the store for as long as it runs.
class ReactionHandler {
 public:
  struct Deps {
    std::shared_ptr<ReactionStore> store;
    Catalogue& catalogue;
    LivePublisher& live;
    const Clock& clock;
    Metrics& metrics;
  };

  explicit ReactionHandler(const Deps& deps);

  // Applies all, in one transaction unless they are very many or of very many
  // recipients. Safe to repeat: what was applied before changes nothing. NOT_FOUND
  // if a type is not in the catalogue; then nothing was done.
  absl::Status Handle(absl::Span<const Reaction> reactions);

 private:
  absl::Status CheckTypes(absl::Span<const Reaction> reactions);
  ReactionItem Render(const Reaction& reaction) const;
  void WakeStreams(absl::Span<const ReactionChange> changes);

  const Deps deps_;
  prometheus::Counter& applied_;
  prometheus::Counter& wake_failures_;
  prometheus::Histogram& end_to_end_;
};

}  // namespace carillon
