// RecordReceipts: from the request to what the store takes. Free functions.
#pragma once

#include <vector>

#include "absl/time/time.h"
#include "carillon/ports/interaction_store.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/validation.h"

namespace carillon {

// Checks everything of 1 to 1000 receipts; what is wrong is added to `violations`,
// and then the result means nothing.
std::vector<DeliveryReceipt> PrepareReceipts(const v1::RecordReceiptsRequest& request, AppId app, absl::Time now,
                                             Violations& violations);

}  // namespace carillon
