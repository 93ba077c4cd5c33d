#include "server/callbacks/status_response.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "server/api/status.h"

namespace carillon {
namespace {

int HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDeadlineExceeded:
      return 503;
    default:
      return 500;
  }
}

}  // namespace

HttpResponse StatusResponse(const absl::Status& status) {
  const auto visible = ToGrpcStatus(status);
  const auto code = static_cast<absl::StatusCode>(visible.error_code());
  HttpResponse response = ErrorResponse(HttpStatus(code), absl::StatusCodeToString(code), visible.error_message());
  if (response.status == 503) {
    const absl::Duration delay = DetailsOf(status).retry_delay.value_or(absl::Seconds(1));
    const int64_t seconds = std::max<int64_t>(1, absl::ToInt64Seconds(absl::Ceil(delay, absl::Seconds(1))));
    response.headers.emplace_back("Retry-After", absl::StrCat(seconds));
  }
  return response;
}

}  // namespace carillon
