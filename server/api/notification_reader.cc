#include "server/api/notification_reader.h"

#include <google/protobuf/util/time_util.h>

#include "carillon/domain/status_macros.h"
#include "server/api/delivery_view.h"
#include "server/api/send_request.h"
#include "server/api/timestamps.h"

namespace carillon {

absl::StatusOr<ShownNotification> NotificationReader::Read(AppId app, const NotificationId& id) const {
  ShownNotification shown;
  ASSIGN_OR_RETURN(shown.record, store_->Get(app, id));
  ASSIGN_OR_RETURN(shown.deliveries, deliveries_->List(app, id));
  return shown;
}

void NotificationReader::Fill(const ShownNotification& shown, v1::Notification* out) const {
  ToProto(shown.record, out);
  AddTimeline(shown.record, out);
  for (const DeliveryRecord& delivery : shown.deliveries) ToProto(delivery, out->add_deliveries());
  FillDelay(shown, out);
}

void NotificationReader::FillDelay(const ShownNotification& shown, v1::Notification* out) const {
  out->clear_delay();
  const std::shared_ptr<const PressureSample> sample = pressure_ ? pressure_() : nullptr;
  if (sample == nullptr) return;
  const std::optional<NotificationDelay> delay = DelayOf(*sample, shown.record, shown.deliveries, clock_.Now());
  if (!delay.has_value()) return;
  out->mutable_delay()->set_queue(delay->queue);
  *out->mutable_delay()->mutable_oldest_age() = ToProtoDuration(delay->oldest_age);
  if (delay->estimated_time.has_value()) {
    *out->mutable_delay()->mutable_estimated_time() = ToTimestamp(*delay->estimated_time);
  }
}

}  // namespace carillon
