#include "carillon/redis/options.h"

namespace carillon {

absl::string_view ToString(LiveRouting routing) { return routing == LiveRouting::kDirected ? "directed" : "broadcast"; }

std::optional<LiveRouting> ParseLiveRouting(absl::string_view text) {
  for (const LiveRouting routing : {LiveRouting::kDirected, LiveRouting::kBroadcast}) {
    if (text == ToString(routing)) return routing;
  }
  return std::nullopt;
}

}  // namespace carillon
