// Events between the API and the domain. Free functions.
#pragma once

#include "carillon/ports/event_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/send_request.h"
#include "server/api/validation.h"

namespace carillon {

// Checks everything of an event; what is wrong is added to `violations`, and then
// the result means nothing.
NewEvent PrepareEvent(const v1::PublishEventRequest& request, const SendOrigin& origin, const Catalogue& catalogue,
                      Violations& violations);

// The answer to an event that was accepted.
void FillPublishResponse(const v1::PublishEventRequest& request, const NewEvent& sent, const EventOutcome& outcome,
                         v1::PublishEventResponse* response);

void ToProto(const EventRecord& record, v1::Event* out);

}  // namespace carillon
