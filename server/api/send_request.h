// From a SendNotificationRequest to what the writer stores, and back to an answer.
#pragma once

#include <string>

#include "carillon/ports/notification_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/validation.h"

namespace carillon {

// What a call says of all of its requests.
struct SendOrigin {
  AppId app;
  absl::Time time;          // By the app's clock.
  std::string traceparent;  // Empty: none.
  // How far that is ahead: ids are by the time of all of us.
  absl::Duration clock_offset;
};

// data as JSON; empty if there is none, or if it is not fine.
std::string CheckData(const google::protobuf::Struct& data, Violations& violations);

// Checks every field and adds what is wrong to `violations`. What it returns is
// good only if nothing was added.
NewNotification PrepareSend(const v1::SendNotificationRequest& request, const SendOrigin& origin,
                            const Catalogue& catalogue, Violations& violations);

// SHA-256 of a canonical form: equal for equal requests, whatever client, field
// order or map order they came with.
std::string PayloadHash(const Notification& notification, const v1::SendNotificationRequest& request);

// The answer: as it was accepted, first or before.
void FillSendResponse(const v1::SendNotificationRequest& request, const NewNotification& sent,
                      const AcceptOutcome& outcome, v1::SendNotificationResponse* response);

// Without its timeline.
void ToProto(const NotificationRecord& record, v1::Notification* out);
// What happened, oldest first.
void AddTimeline(const NotificationRecord& record, v1::Notification* out);

}  // namespace carillon
