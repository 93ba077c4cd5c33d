#include "server/ingest/outbox_guard.h"

#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {

absl::Status OutboxGuard::Check() {
  ASSIGN_OR_RETURN(const std::vector<OutboxStats> lanes, store_->Outbox());
  for (const OutboxStats& stats : lanes) {
    const bool closed = stats.rows + stats.deferred >= bound_rows_;
    const auto writer = writers_.find(stats.lane);
    if (writer != writers_.end()) writer->second->set_open(!closed);
    if (stats.lane == Lane::kFanout) fanout_open_ = !closed;
    if (closed != closed_[stats.lane]) {
      log::Warn(closed ? "outbox.full" : "outbox.open",
                {{"lane", ToString(stats.lane)}, {"rows", stats.rows + stats.deferred}});
    }
    closed_[stats.lane] = closed;
  }
  return absl::OkStatus();
}

}  // namespace carillon
