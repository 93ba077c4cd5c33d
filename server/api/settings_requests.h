// The part of RecipientService that is about how a recipient wants to be told.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/settings_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/recipient_service.pb.h"

namespace carillon {

// Checks, acts and answers; one call each. Thread-safe. Blocks for PostgreSQL. What needs the
// app's types or clock is UNAVAILABLE while the catalogue has not been read.
class SettingsRequests {
 public:
  // The catalogue and the clock must outlive it.
  SettingsRequests(std::shared_ptr<SettingsStore> store, const Catalogue& catalogue, const Clock& clock)
      : store_(std::move(store)), catalogue_(catalogue), clock_(clock) {}

  absl::Status Update(AppId app, const v1::UpdateSettingsRequest& request, v1::UpdateSettingsResponse* response);
  absl::Status Get(AppId app, const v1::GetSettingsRequest& request, v1::GetSettingsResponse* response);
  absl::Status AddMutes(AppId app, const v1::AddMutesRequest& request, v1::AddMutesResponse* response);
  absl::Status RemoveMutes(AppId app, const v1::RemoveMutesRequest& request, v1::RemoveMutesResponse* response);
  absl::Status ListMutes(AppId app, const v1::ListMutesRequest& request, v1::ListMutesResponse* response);
  absl::Status GetCentre(AppId app, const v1::GetPreferenceCentreRequest& request,
                         v1::GetPreferenceCentreResponse* response);

 private:
  absl::StatusOr<KnownSettings> Read(AppId app, const std::string& user_id);

  const std::shared_ptr<SettingsStore> store_;
  const Catalogue& catalogue_;
  const Clock& clock_;
};

}  // namespace carillon
