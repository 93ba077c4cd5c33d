#include "server/connect/cors.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace carillon {
namespace {

constexpr absl::string_view kAnyHeaders =
    "Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Authorization, Last-Event-ID, Traceparent, "
    "X-User-Agent";
constexpr absl::string_view kAppHeaders = ", X-App-Key, X-App-Secret";
constexpr absl::string_view kExposed = "Retry-After, Accept-Post";
constexpr absl::string_view kMaxAge = "7200";  // What browsers take at most.

bool IsOfApi(absl::string_view path) {
  return absl::StartsWith(path, "/carillon.v1.") || absl::StartsWith(path, "/v1/");
}

// As browsers write it: scheme://host or scheme://host:port, in small letters.
bool IsOrigin(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "https://") && !absl::ConsumePrefix(&text, "http://")) return false;
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || absl::StrContains(".-:[]", std::string(1, c));
  });
}

}  // namespace

absl::StatusOr<CorsPolicy> CorsPolicy::Parse(absl::string_view flag) {
  CorsPolicy policy;
  if (absl::StripAsciiWhitespace(flag) == "*") {
    policy.allows_all = true;
    return policy;
  }
  for (absl::string_view origin : absl::StrSplit(flag, ',', absl::SkipWhitespace())) {
    origin = absl::StripAsciiWhitespace(origin);
    if (!IsOrigin(origin)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--cors-origins must be origins like https://example.org, or * alone; not ", origin));
    }
    policy.origins.emplace(origin);
  }
  return policy;
}

void Cors::Handle(HttpRequest request, HttpRespond respond) {
  const std::string origin(request.Header("origin"));
  if (!IsOfApi(request.path) || !Allows(origin)) return next_.Handle(std::move(request), std::move(respond));
  if (request.method == "OPTIONS" && !request.Header("access-control-request-method").empty()) {
    metrics_.Count("preflight", 204);
    return respond(Preflight(origin));
  }
  next_.Handle(std::move(request), [this, origin, respond = std::move(respond)](HttpResponse response) {
    AddOrigin(origin, response);
    response.headers.emplace_back("Access-Control-Expose-Headers", std::string(kExposed));
    respond(std::move(response));
  });
}

bool Cors::Allows(absl::string_view origin) const {
  return !origin.empty() && (policy_.allows_all || policy_.origins.contains(origin));
}

HttpResponse Cors::Preflight(absl::string_view origin) const {
  HttpResponse response = NoContent();
  AddOrigin(origin, response);
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST");
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                absl::StrCat(kAnyHeaders, policy_.allows_all ? "" : kAppHeaders));
  response.headers.emplace_back("Access-Control-Max-Age", std::string(kMaxAge));
  return response;
}

void Cors::AddOrigin(absl::string_view origin, HttpResponse& response) const {
  response.headers.emplace_back("Access-Control-Allow-Origin", policy_.allows_all ? "*" : std::string(origin));
  if (!policy_.allows_all) response.headers.emplace_back("Vary", "Origin");
}

}  // namespace carillon
