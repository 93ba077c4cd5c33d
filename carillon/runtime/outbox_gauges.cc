#include "carillon/runtime/outbox_gauges.h"

#include <string>

namespace carillon {

OutboxGauges::OutboxGauges(Metrics& metrics) {
  for (const Lane lane : kAllLanes) {
    const Metrics::Labels labels = {{"lane", std::string(ToString(lane))}};
    gauges_[lane] = {&metrics.Gauge("carillon_outbox_rows", "Rows ready to be published", labels),
                     &metrics.Gauge("carillon_outbox_deferred_rows", "Rows that wait after a failure", labels),
                     &metrics.Gauge("carillon_outbox_oldest_age_seconds", "Age of the oldest ready row", labels)};
  }
}

void OutboxGauges::Set(absl::Span<const OutboxStats> lanes) const {
  for (const OutboxStats& stats : lanes) {
    const LaneGauges& gauges = gauges_.at(stats.lane);
    gauges.rows->Set(static_cast<double>(stats.rows));
    gauges.deferred->Set(static_cast<double>(stats.deferred));
    gauges.age_seconds->Set(absl::ToDoubleSeconds(stats.oldest_age));
  }
}

}  // namespace carillon
