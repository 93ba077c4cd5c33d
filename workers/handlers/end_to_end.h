// How long notifications took from the door to the feed, in a histogram per lane.
#pragma once

#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe. Whoever counts into the same lane counts into the same histogram.
class EndToEnd {
 public:
  EndToEnd(Metrics& metrics, const Catalogue& catalogue, Lane lane);

  // It is in the feed now. `accepted` is by the app's clock: the moment of acceptance, or
  // the send time of what was to be sent later.
  void Observe(AppId app, absl::Time accepted, absl::Time now) const;

 private:
  const Catalogue& catalogue_;
  prometheus::Histogram& histogram_;
};

}  // namespace carillon
