// How to reach Redis.
#pragma once

#include <string>

#include "absl/time/time.h"

namespace carillon {

struct RedisOptions {
  std::string url;  // redis://[:password@]host:port[/db]
  absl::Duration connect_timeout = absl::Milliseconds(500);
  absl::Duration command_timeout = absl::Milliseconds(500);
};

}  // namespace carillon
