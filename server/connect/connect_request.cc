#include "server/connect/connect_request.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

constexpr const char* kForwarded[] = {"x-app-key", "x-app-secret", "authorization", "traceparent"};
constexpr size_t kMaxTimeoutDigits = 10;

absl::StatusOr<std::optional<absl::Duration>> ReadTimeout(const HttpRequest& request) {
  const absl::string_view text = request.Header("connect-timeout-ms");
  if (text.empty()) return std::nullopt;
  int64_t milliseconds = 0;
  const bool is_number = text.size() <= kMaxTimeoutDigits && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  if (!is_number || !absl::SimpleAtoi(text, &milliseconds)) {
    return error::InvalidField("connect-timeout-ms", "must be a number of milliseconds, of at most 10 digits");
  }
  return absl::Milliseconds(milliseconds);
}

absl::Status CheckProtocol(const HttpRequest& request, bool is_stream) {
  const absl::string_view version = request.Header("connect-protocol-version");
  if (!version.empty() && version != "1") return error::InvalidField("connect-protocol-version", "must be 1");
  const char* const header = is_stream ? "connect-content-encoding" : "content-encoding";
  const absl::string_view encoding = request.Header(header);
  if (encoding.empty() || absl::EqualsIgnoreCase(encoding, "identity")) return absl::OkStatus();
  return UnsupportedEncoding(header);
}

void ForwardMetadata(const HttpRequest& request, grpc::ClientContext& context) {
  for (const char* const name : kForwarded) {
    const absl::string_view value = request.Header(name);
    // gRPC ends the process over others.
    const bool is_legal = std::all_of(value.begin(), value.end(), absl::ascii_isprint);
    if (!value.empty() && is_legal) context.AddMetadata(name, std::string(value));
  }
}

}  // namespace

absl::Status PrepareContext(const HttpRequest& request, bool is_stream, absl::Time now, grpc::ClientContext& context) {
  RETURN_IF_ERROR(CheckProtocol(request, is_stream));
  ASSIGN_OR_RETURN(const std::optional<absl::Duration> timeout, ReadTimeout(request));
  // gRPC might still be in time.
  if (timeout == absl::ZeroDuration()) return error::DeadlineExceeded();
  if (timeout.has_value()) context.set_deadline(absl::ToChronoTime(now + *timeout));
  ForwardMetadata(request, context);
  return absl::OkStatus();
}

HttpResponse UnsupportedMediaType(bool is_stream) {
  const std::string known(ContentTypes(is_stream));
  HttpResponse response = ErrorResponse(415, ConnectCode(grpc::StatusCode::UNKNOWN),
                                        absl::StrCat("the content-type must be one of ", known));
  response.headers.emplace_back("Accept-Post", known);
  return response;
}

}  // namespace carillon
