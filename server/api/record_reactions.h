// RecordReactions: from the request to what the writer takes. Free functions.
#pragma once

#include <vector>

#include "carillon/domain/event.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/send_request.h"
#include "server/api/validation.h"

namespace carillon {

// Checks everything of 1 to 1000 reactions; what is wrong is added to
// `violations`, and then the result means nothing. Versions are not given out yet.
std::vector<Reaction> PrepareReactions(const v1::RecordReactionsRequest& request, const SendOrigin& origin,
                                       const Catalogue& catalogue, Violations& violations);

}  // namespace carillon
