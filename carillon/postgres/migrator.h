// Applies migrations/NNNN_name.{up,down}.sql: each in a transaction of its own,
// under an advisory lock, so that any number may be started at once.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace carillon {

// Applies what is missing, in order. Returns how many. FAILED_PRECONDITION if
// an applied file has changed since, or is gone.
absl::StatusOr<int> Migrate(const std::string& database_url, const std::string& directory);
// Takes the newest `steps` migrations back.
absl::Status MigrateDown(const std::string& database_url, const std::string& directory, int steps);

}  // namespace carillon
