// Whether a notification waits longer than it should, and until about when.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"
#include "carillon/domain/notification.h"
#include "server/pressure/pressure_sample.h"

namespace carillon {

struct NotificationDelay {
  std::string queue;  // marketing, or marketing.email.
  absl::Duration oldest_age;
  std::optional<absl::Time> estimated_time;  // Absent: nothing moves.
};

// Nothing if it has ended, waits for a time, or its lane is as fast as it should be. A pure
// function of the newest look.
std::optional<NotificationDelay> DelayOf(const PressureSample& sample, const NotificationRecord& record,
                                         absl::Span<const DeliveryRecord> deliveries, absl::Time now);

}  // namespace carillon
