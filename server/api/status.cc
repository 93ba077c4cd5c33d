#include "server/api/status.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/runtime/logging.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace carillon {
namespace {

// The reason of a status that was made without one.
std::string DefaultReason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return "INVALID_FIELD";
    case absl::StatusCode::kNotFound:
      return "NOT_FOUND";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
      return "BACKEND_UNAVAILABLE";
    case absl::StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case absl::StatusCode::kResourceExhausted:
      return "OVERLOADED";
    case absl::StatusCode::kAlreadyExists:
      return "ALREADY_EXISTS";
    default:
      return "INTERNAL";
  }
}

void AddDetails(const ErrorDetails& details, absl::StatusCode code, absl::string_view request_id,
                google::rpc::Status& out) {
  google::rpc::ErrorInfo info;
  info.set_domain("carillon");
  info.set_reason(details.reason.empty() ? DefaultReason(code) : details.reason);
  for (const auto& [key, value] : details.metadata) (*info.mutable_metadata())[key] = value;
  if (!request_id.empty()) (*info.mutable_metadata())["request_id"] = std::string(request_id);
  out.add_details()->PackFrom(info);
  if (!details.violations.empty()) {
    google::rpc::BadRequest bad_request;
    for (const FieldViolation& violation : details.violations) {
      auto& added = *bad_request.add_field_violations();
      added.set_field(violation.field);
      added.set_description(violation.description);
    }
    out.add_details()->PackFrom(bad_request);
  }
  if (details.retry_delay.has_value()) {
    google::rpc::RetryInfo retry;
    const int64_t nanoseconds = absl::ToInt64Nanoseconds(*details.retry_delay);
    retry.mutable_retry_delay()->set_seconds(nanoseconds / 1'000'000'000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
    out.add_details()->PackFrom(retry);
  }
}

// What a caller may know: faults of ours and the addresses of our backends are
// named, not described.
absl::Status ForCaller(const absl::Status& status, absl::string_view request_id) {
  const absl::StatusCode code = status.code();
  if (code == absl::StatusCode::kAborted) return error::BackendUnavailable("postgresql", "busy");
  const ErrorDetails details = DetailsOf(status);
  if (details.reason == "BACKEND_UNAVAILABLE") {
    log::Debug("rpc.backend_unavailable", {{"request_id", request_id}, {"error", status}});
    const auto backend = details.metadata.find("backend");
    return error::BackendUnavailable(backend == details.metadata.end() ? "a backend" : backend->second,
                                     "not available at the moment; try again");
  }
  if (code != absl::StatusCode::kInternal && code != absl::StatusCode::kUnknown) return status;
  log::Error("rpc.internal_error", {{"request_id", request_id}, {"error", status}});
  return error::Internal(absl::StrCat("internal error; the log has it under request ", request_id));
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status, absl::string_view request_id) {
  if (status.ok()) return grpc::Status::OK;
  const absl::Status visible = ForCaller(status, request_id);
  const std::string message(visible.message().substr(0, limits::kMaxStatusMessageBytes));
  google::rpc::Status details;
  details.set_code(static_cast<int>(visible.code()));
  details.set_message(message);
  AddDetails(DetailsOf(visible), visible.code(), request_id, details);
  return grpc::Status(static_cast<grpc::StatusCode>(visible.code()), message, details.SerializeAsString());
}

}  // namespace carillon
