// A notification with its timeline, its deliveries and its delay, as GetNotification and
// WatchNotification show it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/notification_store.h"
#include "carillon/v1/notification.pb.h"
#include "server/pressure/delay.h"

namespace carillon {

struct ShownNotification {
  NotificationRecord record;
  std::vector<DeliveryRecord> deliveries;
};

// Thread-safe.
class NotificationReader {
 public:
  // The newest look at the queues; null: nothing is known of delays.
  using Pressure = std::function<std::shared_ptr<const PressureSample>()>;

  NotificationReader(std::shared_ptr<NotificationStore> store, std::shared_ptr<DeliveryStore> deliveries,
                     Pressure pressure, const Clock& clock)
      : store_(std::move(store)), deliveries_(std::move(deliveries)), pressure_(std::move(pressure)), clock_(clock) {}

  // NOT_FOUND for another app's.
  absl::StatusOr<ShownNotification> Read(AppId app, const NotificationId& id) const;
  // With its delay of this moment.
  void Fill(const ShownNotification& shown, v1::Notification* out) const;
  // Sets or clears the delay. Looks at nothing but memory.
  void FillDelay(const ShownNotification& shown, v1::Notification* out) const;

 private:
  const std::shared_ptr<NotificationStore> store_;
  const std::shared_ptr<DeliveryStore> deliveries_;
  const Pressure pressure_;
  const Clock& clock_;
};

}  // namespace carillon
