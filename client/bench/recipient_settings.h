// Recipients that have said something about everything that can be said.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/carillon/client.h"

namespace carillon::bench {

// Gives each preferences, quiet hours, a digest time and mutes, none of which stands
// against what the measurements send. Blocks; two calls for each.
absl::Status GiveSettings(Client& client, const std::vector<std::string>& user_ids);

}  // namespace carillon::bench
