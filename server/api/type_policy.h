// What a type says about when and how recipients are told: from requests and back.
// Free functions; thread-safe.
#pragma once

#include "carillon/domain/notification.h"
#include "carillon/v1/catalog_service.pb.h"
#include "server/api/validation.h"

namespace carillon {

// Of a type whose lane is known. Adds what is wrong to the violations, and then the
// result means nothing.
DeliveryPolicy CheckPolicy(const v1::Type& in, Lane lane, Violations& violations);

void PolicyToProto(const DeliveryPolicy& policy, v1::Type* out);

}  // namespace carillon
