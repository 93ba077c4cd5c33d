// Answers of the server as absl::Status.
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace carillon {

// The same code, and a message that a person can act on: the server's own, then
// the reason and its metadata in brackets, as in
//   no such type [UNKNOWN_TYPE type=lke]
// The details also ride along as payloads, for ReasonOf and RetryDelayOf.
absl::Status FromGrpcStatus(const grpc::Status& status);

// The reason of google.rpc.ErrorInfo (carillon.v1.ErrorReason without its
// prefix); empty if the server gave none.
std::string ReasonOf(const absl::Status& status);

// When the server says that the call is worth repeating.
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

}  // namespace carillon
