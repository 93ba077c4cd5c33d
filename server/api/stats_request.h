// GetStats: what was sent and what became of it, by day.
#pragma once

#include "absl/status/status.h"
#include "carillon/ports/stats_store.h"
#include "carillon/v1/admin_service.pb.h"

namespace carillon {

// INVALID_ARGUMENT if a field is wrong, or if there are more rows than one answer
// carries.
absl::Status GetStats(StatsStore& store, AppId app, const v1::GetStatsRequest& request, v1::GetStatsResponse* response);

}  // namespace carillon
