// What the headers of a Connect request say.
#pragma once

#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/connect/connect_protocol.h"
#include "server/http/http_message.h"

namespace carillon {

// The context of the call that stands for the request: its deadline, who calls, and its
// trace. Nothing else of a request gets through, and header values that gRPC does not
// carry are as if they had not come. Fails for a version of the protocol or an encoding
// that is not taken.
absl::Status PrepareContext(const HttpRequest& request, bool is_stream, absl::Time now, grpc::ClientContext& context);

// 415, and what would be taken.
HttpResponse UnsupportedMediaType(bool is_stream);

}  // namespace carillon
