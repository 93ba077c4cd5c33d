// Errors as Connect clients expect them. Free functions; thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "server/connect/message_json.h"
#include "server/http/http_message.h"

namespace carillon {

// As gRPC keeps it.
using ConnectMetadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// The HTTP answer for a status that is not OK: its code as the HTTP status, the details
// in the body, and Retry-After where it says when to come back.
HttpResponse ConnectErrorResponse(const grpc::Status& status, const MessageJson& json);
// The same for a status of ours.
HttpResponse ConnectErrorResponse(const absl::Status& status, const MessageJson& json);

// The error alone: {"code", "message", "details"}.
std::string ConnectErrorJson(const grpc::Status& status, const MessageJson& json);
// The message that ends a stream.
std::string EndOfStreamJson(const grpc::Status& status, const ConnectMetadata& trailers, const MessageJson& json);

// Trailing metadata as headers of an answer. What belongs to gRPC itself stays out.
void AddTrailers(const ConnectMetadata& trailers, HttpResponse& response);

}  // namespace carillon
