// Asks a server on this machine or network over plain HTTP, a connection for each
// request.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon::bench {

// What http://IPV4:port/path answers with 200 to 209. `body` is JSON, or empty. Blocks for a
// few seconds at most. INVALID_ARGUMENT for another kind of address; UNAVAILABLE for
// another answer.
absl::StatusOr<std::string> AskOverHttp(absl::string_view method, absl::string_view url, absl::string_view body = "");

}  // namespace carillon::bench
