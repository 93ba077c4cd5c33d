// The one place where a status becomes a gRPC status.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace carillon {

// Adds google.rpc details: ErrorInfo always, BadRequest and RetryInfo where they
// apply. The text of an INTERNAL error stays here: it is logged with the request
// id, and the caller gets only the id.
grpc::Status ToGrpcStatus(const absl::Status& status, absl::string_view request_id = "");

}  // namespace carillon
