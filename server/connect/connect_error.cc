#include "server/connect/connect_error.h"

#include <algorithm>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "nlohmann/json.hpp"
#include "server/api/status.h"
#include "server/connect/connect_protocol.h"

namespace carillon {
namespace {

std::string Unpadded(absl::string_view bytes) {
  std::string text = absl::Base64Escape(bytes);
  while (absl::EndsWith(text, "=")) text.pop_back();
  return text;
}

std::vector<google::protobuf::Any> DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  (void)details.ParseFromString(status.error_details());
  return {details.details().begin(), details.details().end()};
}

// With a readable form beside the bytes, where the type is known.
nlohmann::ordered_json ToJson(const google::protobuf::Any& detail, const MessageJson& json) {
  const std::string name = detail.type_url().substr(detail.type_url().rfind('/') + 1);
  nlohmann::ordered_json out = {{"type", name}, {"value", Unpadded(detail.value())}};
  const auto* const type = google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  if (type == nullptr) return out;
  const absl::StatusOr<std::string> readable = json.ToJson(*type, detail.value());
  if (readable.ok()) out["debug"] = nlohmann::ordered_json::parse(*readable, nullptr, /*allow_exceptions=*/false);
  return out;
}

nlohmann::ordered_json ToJson(const grpc::Status& status, const MessageJson& json) {
  nlohmann::ordered_json out = {{"code", std::string(ConnectCode(status.error_code()))},
                                {"message", status.error_message()}};
  for (const google::protobuf::Any& detail : DetailsOf(status)) out["details"].push_back(ToJson(detail, json));
  return out;
}

// Messages may hold what callers sent.
std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::ordered_json::error_handler_t::replace);
}

// In whole seconds, rounded up.
std::optional<int64_t> RetryAfter(const grpc::Status& status) {
  for (const google::protobuf::Any& detail : DetailsOf(status)) {
    google::rpc::RetryInfo info;
    if (!detail.Is<google::rpc::RetryInfo>() || !detail.UnpackTo(&info)) continue;
    return std::max<int64_t>(1, info.retry_delay().seconds() + (info.retry_delay().nanos() > 0 ? 1 : 0));
  }
  return std::nullopt;
}

bool IsOfGrpc(absl::string_view name) {
  return absl::StartsWith(name, "grpc-") || absl::StartsWith(name, ":") || absl::StartsWith(name, "connect-") ||
         name == "content-type" || name == "user-agent";
}

// By name: as text, of binary metadata in base64.
std::vector<std::pair<std::string, std::string>> Visible(const ConnectMetadata& metadata) {
  std::vector<std::pair<std::string, std::string>> visible;
  for (const auto& [key, value] : metadata) {
    const absl::string_view name(key.data(), key.size());
    const absl::string_view bytes(value.data(), value.size());
    if (IsOfGrpc(name)) continue;
    visible.emplace_back(name, absl::EndsWith(name, "-bin") ? Unpadded(bytes) : std::string(bytes));
  }
  return visible;
}

}  // namespace

HttpResponse ConnectErrorResponse(const grpc::Status& status, const MessageJson& json) {
  HttpResponse response = JsonResponse(ConnectErrorJson(status, json));
  response.status = HttpStatus(status.error_code());
  const std::optional<int64_t> seconds = RetryAfter(status);
  if (seconds.has_value()) response.headers.emplace_back("Retry-After", absl::StrCat(*seconds));
  return response;
}

HttpResponse ConnectErrorResponse(const absl::Status& status, const MessageJson& json) {
  return ConnectErrorResponse(ToGrpcStatus(status), json);
}

std::string ConnectErrorJson(const grpc::Status& status, const MessageJson& json) { return Dump(ToJson(status, json)); }

std::string EndOfStreamJson(const grpc::Status& status, const ConnectMetadata& trailers, const MessageJson& json) {
  nlohmann::ordered_json end = nlohmann::ordered_json::object();
  if (!status.ok()) end["error"] = ToJson(status, json);
  for (const auto& [name, value] : Visible(trailers)) end["metadata"][name].push_back(value);
  return Dump(end);
}

void AddTrailers(const ConnectMetadata& trailers, HttpResponse& response) {
  for (auto& [name, value] : Visible(trailers)) {
    response.headers.emplace_back(absl::StrCat("Trailer-", name), std::move(value));
  }
}

}  // namespace carillon
