// watch and topics watch: the same command on a recipient's feed and on a topic's.
#pragma once

#include "client/ctl/context.h"

namespace carillon::ctl {

// Adds `watch` for a recipient's feed.
void AddWatchCommand(CLI::App& parent, Context& context);
// Adds `watch` for a topic's public feed.
void AddTopicWatchCommand(CLI::App& parent, Context& context);

}  // namespace carillon::ctl
