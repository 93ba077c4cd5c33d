#include "server/pressure/delay.h"

#include <algorithm>

namespace carillon {
namespace {

NotificationDelay MakeDelay(std::string queue, absl::Duration oldest_age, std::optional<absl::Duration> wait,
                            absl::Time accepted, absl::Time now) {
  NotificationDelay delay{.queue = std::move(queue), .oldest_age = oldest_age, .estimated_time = {}};
  if (wait.has_value()) delay.estimated_time = std::max(now, accepted + *wait);
  return delay;
}

void KeepWorse(std::optional<NotificationDelay>& worst, NotificationDelay delay) {
  if (!worst.has_value() || delay.oldest_age > worst->oldest_age) worst = std::move(delay);
}

}  // namespace

std::optional<NotificationDelay> DelayOf(const PressureSample& sample, const NotificationRecord& record,
                                         absl::Span<const DeliveryRecord> deliveries, absl::Time now) {
  if (record.state != State::kAccepted && record.state != State::kQueued) return std::nullopt;
  const LaneSample& lane = sample.Of(record.notification.lane);
  const std::string lane_name(ToString(lane.lane));
  // By our clock, which a sandbox's times are not of.
  const absl::Time accepted = record.release_time.value_or(record.notification.id.time());
  if (deliveries.empty()) {
    if (!lane.delayed) return std::nullopt;
    return MakeDelay(lane_name, lane.oldest_age, lane.estimated_wait, accepted, now);
  }
  // The lane has decided on it: what is left waits for a channel, or to be published to it.
  std::optional<NotificationDelay> worst;
  for (const DeliveryRecord& delivery : deliveries) {
    if (delivery.state != DeliveryState::kPending) continue;
    const QueueSample* const queue = sample.Find(DeliveryQueue(lane.lane, delivery.channel));
    if (queue != nullptr && queue->oldest_age.value_or(absl::ZeroDuration()) > lane.objective) {
      const auto wait = EstimateWait(*queue->oldest_age, static_cast<double>(queue->messages), queue->out_rate);
      KeepWorse(worst, MakeDelay(queue->name, *queue->oldest_age, wait, delivery.id.time(), now));
    }
    if (lane.outbox_age > lane.objective) {
      KeepWorse(worst, MakeDelay(lane_name, lane.outbox_age, lane.estimated_wait, delivery.id.time(), now));
    }
  }
  return worst;
}

}  // namespace carillon
