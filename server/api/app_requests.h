// Apps between the API and the domain. Free functions.
#pragma once

#include "absl/time/time.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/catalog_store.h"
#include "carillon/ports/trip_store.h"
#include "carillon/v1/admin_service.pb.h"
#include "server/api/validation.h"

namespace carillon {

// Checks everything but the app's key; what is wrong is added to `violations`, and then
// the result means nothing.
AppChanges CheckAppChanges(const v1::UpdateAppRequest& request, Violations& violations);

void ToProto(const App& app, absl::Time now, v1::App* out);
void ToProto(const TrippedSender& sender, v1::TrippedSender* out);

}  // namespace carillon
