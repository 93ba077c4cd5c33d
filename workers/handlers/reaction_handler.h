// What a lane worker does with reactions: counts them and changes the items that
// tell of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

  // Applies notifications as reactions and ends them, in one transaction. Those without a version
  // get one. Safe to repeat, as it is for the store.
  absl::StatusOr<std::vector<Gathered>> Gather(absl::Span<GatheredNotification> notifications);

 private:
  // How reactions of a type are gathered now; null: they are not.
  std::shared_ptr<const ReactionWindow> WindowOf(AppId app, const NotificationType& type) const;
  // NOT_FOUND. Else the windows of those that have one, by type.
  using Windows = std::map<std::pair<AppId, std::string>, std::shared_ptr<const ReactionWindow>>;
  absl::StatusOr<Windows> CheckTypes(absl::Span<const Reaction> reactions);
  absl::Status Apply(absl::Span<const Reaction> reactions);
  ReactionItem Render(const Reaction& reaction) const;
  void WakeStreams(absl::Span<const ReactionChange> changes);

  const Deps deps_;
  prometheus::Counter& applied_;
  prometheus::Counter& wake_failures_;
  prometheus::Histogram& end_to_end_;
};

}  // namespace carillon
