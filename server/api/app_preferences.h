// The part of CatalogService that is about the preferences of recipients who have not
// said otherwise.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "carillon/ports/settings_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/v1/catalog_service.pb.h"

namespace carillon {

// Checks, acts and answers; one call each. Thread-safe. Blocks for PostgreSQL.
class AppPreferences {
 public:
  // The catalogue must outlive it.
  AppPreferences(std::shared_ptr<SettingsStore> store, Catalogue& catalogue)
      : store_(std::move(store)), catalogue_(catalogue) {}

  absl::Status Set(AppId app, const v1::SetAppPreferencesRequest& request, v1::SetAppPreferencesResponse* response);
  absl::Status Get(AppId app, v1::GetAppPreferencesResponse* response);

 private:
  const std::shared_ptr<SettingsStore> store_;
  Catalogue& catalogue_;
};

}  // namespace carillon
