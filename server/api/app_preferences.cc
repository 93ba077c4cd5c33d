#include "server/api/app_preferences.h"

#include <vector>

#include "carillon/domain/status_macros.h"
#include "server/api/settings_checks.h"

namespace carillon {

absl::Status AppPreferences::Set(AppId app, const v1::SetAppPreferencesRequest& request,
                                 v1::SetAppPreferencesResponse* response) {
  Violations violations;
  const std::vector<Preference> preferences = CheckPreferences("preferences", request.preferences(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  RETURN_IF_ERROR(store_->SetAppPreferences(app, preferences));
  // This server knows at once; a failure here only means that it learns like the others.
  (void)catalogue_.Refresh();
  for (const Preference& preference : preferences) ToProto(preference, response->add_preferences());
  return absl::OkStatus();
}

absl::Status AppPreferences::Get(AppId app, v1::GetAppPreferencesResponse* response) {
  ASSIGN_OR_RETURN(const std::vector<Preference> preferences, store_->ReadAppPreferences(app));
  for (const Preference& preference : preferences) ToProto(preference, response->add_preferences());
  return absl::OkStatus();
}

}  // namespace carillon
