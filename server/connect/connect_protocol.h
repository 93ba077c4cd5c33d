// The Connect protocol's names and forms (https://connectrpc.com/docs/protocol). Free
// functions; thread-safe.
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon {

enum class ConnectCodec { kJson, kProto };

// The codec that a Content-Type names, of unary methods or of streams; nullopt: none of
// those that there are.
std::optional<ConnectCodec> ParseContentType(absl::string_view content_type, bool is_stream);
absl::string_view ContentType(ConnectCodec codec, bool is_stream);
// All that are taken, for Accept-Post.
absl::string_view ContentTypes(bool is_stream);

absl::string_view ConnectCode(grpc::StatusCode code);
int HttpStatus(grpc::StatusCode code);

// UNIMPLEMENTED: the header names an encoding.
absl::Status UnsupportedEncoding(absl::string_view header);

// A message of a stream, and the one that ends it.
std::string Envelope(absl::string_view message);
std::string EndEnvelope(absl::string_view message);
// The message of a stream's request: there must be exactly one.
absl::StatusOr<std::string> OpenEnvelope(absl::string_view body);

}  // namespace carillon
