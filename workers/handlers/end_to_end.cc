#include "workers/handlers/end_to_end.h"

#include <algorithm>

namespace carillon {

EndToEnd::EndToEnd(Metrics& metrics, const Catalogue& catalogue, Lane lane)
    : catalogue_(catalogue),
      histogram_(metrics.EndToEnd("carillon_accepted_to_delivered_seconds",
                                  "From acceptance at the door, or the send time, to the feed",
                                  {{"lane", std::string(ToString(lane))}})) {}

void EndToEnd::Observe(AppId app, absl::Time accepted, absl::Time now) const {
  const absl::Duration taken = now + catalogue_.PolicyOf(app)->clock_offset - accepted;
  // The door's clock may be a little ahead of ours.
  histogram_.Observe(std::max(0.0, absl::ToDoubleSeconds(taken)));
}

}  // namespace carillon
