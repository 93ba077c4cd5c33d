// --dry-run of send and event publish.
#pragma once

#include "absl/status/status.h"
#include "carillon/v1/notification_service.pb.h"
#include "client/ctl/context.h"

namespace carillon::ctl {

inline constexpr const char* kDryRunHelp = "send nothing: show what would be decided, counted by channel and reason";

// Asks and shows the counts.
absl::Status RunDry(Context& context, const v1::DryRunRequest& request);

}  // namespace carillon::ctl
