#include "server/connect/connect_protocol.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/errors.h"

namespace carillon {
namespace {

constexpr size_t kPrefixBytes = 5;  // Flags, and the length with its highest byte first.
constexpr char kCompressed = 1;
constexpr char kEndOfStream = 2;

std::string WithPrefix(char flags, absl::string_view message) {
  const auto size = static_cast<uint32_t>(message.size());
  std::string bytes = {flags, static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                       static_cast<char>(size >> 8), static_cast<char>(size)};
  bytes.append(message.data(), message.size());
  return bytes;
}

uint32_t LengthIn(absl::string_view prefix) {
  uint32_t length = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) length = length << 8 | static_cast<unsigned char>(prefix[i]);
  return length;
}

bool IsUtf8Charset(absl::string_view parameter) {
  const std::string text = absl::AsciiStrToLower(absl::StripAsciiWhitespace(parameter));
  return text == "charset=utf-8" || text == "charset=\"utf-8\"";
}

}  // namespace

std::optional<ConnectCodec> ParseContentType(absl::string_view content_type, bool is_stream) {
  const std::vector<absl::string_view> parts = absl::StrSplit(content_type, ';');
  const absl::string_view type = absl::StripAsciiWhitespace(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!IsUtf8Charset(parts[i])) return std::nullopt;
  }
  for (const ConnectCodec codec : {ConnectCodec::kJson, ConnectCodec::kProto}) {
    if (absl::EqualsIgnoreCase(type, ContentType(codec, is_stream))) return codec;
  }
  return std::nullopt;
}

absl::string_view ContentType(ConnectCodec codec, bool is_stream) {
  if (codec == ConnectCodec::kJson) return is_stream ? "application/connect+json" : "application/json";
  return is_stream ? "application/connect+proto" : "application/proto";
}

absl::string_view ContentTypes(bool is_stream) {
  return is_stream ? "application/connect+json, application/connect+proto" : "application/json, application/proto";
}

absl::string_view ConnectCode(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED:
      return "canceled";
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "invalid_argument";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "deadline_exceeded";
    case grpc::StatusCode::NOT_FOUND:
      return "not_found";
    case grpc::StatusCode::ALREADY_EXISTS:
      return "already_exists";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "permission_denied";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "resource_exhausted";
    case grpc::StatusCode::FAILED_PRECONDITION:
      return "failed_precondition";
    case grpc::StatusCode::ABORTED:
      return "aborted";
    case grpc::StatusCode::OUT_OF_RANGE:
      return "out_of_range";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "unimplemented";
    case grpc::StatusCode::INTERNAL:
      return "internal";
    case grpc::StatusCode::UNAVAILABLE:
      return "unavailable";
    case grpc::StatusCode::DATA_LOSS:
      return "data_loss";
    case grpc::StatusCode::UNAUTHENTICATED:
      return "unauthenticated";
    default:
      return "unknown";
  }
}

int HttpStatus(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return 200;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::OUT_OF_RANGE:
      return 400;
    case grpc::StatusCode::UNAUTHENTICATED:
      return 401;
    case grpc::StatusCode::PERMISSION_DENIED:
      return 403;
    case grpc::StatusCode::NOT_FOUND:
      return 404;
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::ABORTED:
      return 409;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return 429;
    case grpc::StatusCode::CANCELLED:
      return 499;
    case grpc::StatusCode::UNIMPLEMENTED:
      return 501;
    case grpc::StatusCode::UNAVAILABLE:
      return 503;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return 504;
    default:
      return 500;
  }
}

absl::Status UnsupportedEncoding(absl::string_view header) {
  constexpr absl::string_view kRule = "must be identity: bodies are taken without compression";
  return MakeError(absl::StatusCode::kUnimplemented, absl::StrCat(header, ": ", kRule),
                   {.reason = "INVALID_FIELD",
                    .metadata = {},
                    .violations = {{std::string(header), std::string(kRule)}},
                    .retry_delay = {}});
}

std::string Envelope(absl::string_view message) { return WithPrefix(0, message); }
std::string EndEnvelope(absl::string_view message) { return WithPrefix(kEndOfStream, message); }

absl::StatusOr<std::string> OpenEnvelope(absl::string_view body) {
  if (!body.empty() && body[0] == kCompressed) {
    return UnsupportedEncoding("connect-content-encoding");
  }
  if (body.size() < kPrefixBytes || body[0] != 0 || LengthIn(body) != body.size() - kPrefixBytes) {
    return error::InvalidField("body", "must be one message, after a byte 0 and its length in 4 bytes");
  }
  return std::string(body.substr(kPrefixBytes));
}

}  // namespace carillon
