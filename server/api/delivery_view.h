// Deliveries as callers see them.
#pragma once

#include "carillon/domain/delivery.h"
#include "carillon/v1/notification.pb.h"

namespace carillon {

void ToProto(const DeliveryRecord& record, v1::Delivery* out);

}  // namespace carillon
