// dlq replay.
#pragma once

#include "client/ctl/context.h"

namespace carillon::ctl {

void AddReplayCommand(CLI::App& dlq, Context& context);

}  // namespace carillon::ctl
