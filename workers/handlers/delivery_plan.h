// Which deliveries a notification begins with: one per external channel, of the push
// channels one per device. Pure.
#pragma once

#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/feed_store.h"

namespace carillon {

// Whether any of these is an external channel.
bool GoesOutside(absl::Span<const Channel> channels);

// With ids of this moment. What can't be reached is suppressed, with the reason.
std::vector<NewDelivery> PlanDeliveries(const Notification& item, const Contacts& contacts, absl::Time now);

}  // namespace carillon
