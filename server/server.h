// A server's parts, and which adapter serves which port.
#pragma once

#include <memory>

#include "carillon/runtime/lifecycle.h"
#include "carillon/runtime/metrics.h"
#include "server/config.h"

namespace carillon {

std::unique_ptr<ManagedProcess> MakeServer(const ServerConfig& config, Metrics& metrics);

}  // namespace carillon
