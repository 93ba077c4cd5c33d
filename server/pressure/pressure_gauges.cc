#include "server/pressure/pressure_gauges.h"

namespace carillon {

PressureGauges::PressureGauges(Metrics& metrics, const LaneObjectives& objectives)
    : sample_time_(metrics.Gauge("carillon_pressure_sample_time_seconds", "When PostgreSQL was last read")),
      broker_up_(metrics.Gauge("carillon_pressure_broker_up", "0 while the broker can't be looked at")) {
  for (const QueueSpec& spec : CarillonTopology().queues) {
    const Metrics::Labels labels = {{"queue", spec.name},
                                    {"lane", spec.lane.has_value() ? std::string(ToString(*spec.lane)) : ""}};
    QueueGauges& gauges = queues_[spec.name];
    gauges.messages = &metrics.Gauge("carillon_queue_messages", "Messages that are ready", labels);
    gauges.consumers = &metrics.Gauge("carillon_queue_consumers", "Consumers of a queue", labels);
    gauges.declared = &metrics.Gauge("carillon_queue_declared", "0 if the broker does not have the queue", labels);
    if (spec.role != QueueRole::kWork) continue;
    gauges.oldest_age = &metrics.Gauge("carillon_queue_oldest_age_seconds",
                                       "About how old the oldest message is; 0: none waits", labels);
  }
  for (const auto& [lane, objective] : objectives) {
    const Metrics::Labels labels = {{"lane", std::string(ToString(lane))}};
    metrics.Gauge("carillon_lane_objective_seconds", "Within what time a lane is to take what was accepted", labels)
        .Set(absl::ToDoubleSeconds(objective));
    lanes_[lane] = {
        &metrics.Gauge("carillon_lane_oldest_age_seconds", "About how old the oldest is in outbox and first hop",
                       labels),
        &metrics.Gauge("carillon_lane_delayed", "1 while the oldest is older than the objective", labels),
        &metrics.Gauge("carillon_lane_backlog", "About how many notifications wait in outbox and first hop", labels),
        &metrics.Gauge("carillon_lane_retrying", "Messages that wait for another attempt", labels)};
  }
}

void PressureGauges::Set(const PressureSample& sample) {
  for (const QueueSample& queue : sample.queues) {
    const QueueGauges& gauges = queues_.at(queue.name);
    gauges.messages->Set(static_cast<double>(queue.messages));
    gauges.consumers->Set(static_cast<double>(queue.consumers));
    gauges.declared->Set(queue.declared ? 1 : 0);
    if (gauges.oldest_age == nullptr) continue;
    gauges.oldest_age->Set(absl::ToDoubleSeconds(queue.oldest_age.value_or(absl::ZeroDuration())));
  }
  for (const LaneSample& lane : sample.lanes) {
    const LaneGauges& gauges = lanes_.at(lane.lane);
    gauges.oldest_age->Set(absl::ToDoubleSeconds(lane.oldest_age));
    gauges.delayed->Set(lane.delayed ? 1 : 0);
    gauges.backlog->Set(static_cast<double>(lane.backlog));
    gauges.retrying->Set(static_cast<double>(lane.retrying));
  }
  sample_time_.Set(static_cast<double>(absl::ToUnixSeconds(sample.store_time)));
  broker_up_.Set(sample.broker_reached ? 1 : 0);
}

}  // namespace carillon
