// A status as an HTTP answer. Free functions; thread-safe.
#pragma once

#include "absl/status/status.h"
#include "server/http/http_message.h"

namespace carillon {

// The JSON error for a status that is not OK, as gRPC callers would see it: faults
// of ours are named, not described; with Retry-After where the status says when.
HttpResponse StatusResponse(const absl::Status& status);

}  // namespace carillon
