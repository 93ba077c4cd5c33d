// How to reach Redis.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace carillon {

struct RedisOptions {
  std::string url;  // redis://[:password@]host:port[/db]
  absl::Duration connect_timeout = absl::Milliseconds(500);
  absl::Duration command_timeout = absl::Milliseconds(500);
};

// How a wake-up finds the servers that hold streams of a feed.
enum class LiveRouting {
  kDirected,   // By presence: to these servers only.
  kBroadcast,  // On notify:{app}:{recipient}, to all of them.
};

// directed or broadcast.
absl::string_view ToString(LiveRouting routing);
std::optional<LiveRouting> ParseLiveRouting(absl::string_view text);

}  // namespace carillon
