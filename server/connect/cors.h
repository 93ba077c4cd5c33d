// Which pages of other origins may use the API (Cross-Origin Resource Sharing).
#pragma once

#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/http/http_message.h"
#include "server/http/http_metrics.h"

namespace carillon {

struct CorsPolicy {
  // Origins such as https://example.org or http://localhost:5173, separated by commas;
  // "*" alone: all. Empty: none.
  static absl::StatusOr<CorsPolicy> Parse(absl::string_view flag);

  absl::flat_hash_set<std::string> origins;
  // Without app credentials: those belong to backends, not to anybody's pages.
  bool allows_all = false;
};

// In front of all routes: answers preflight requests for the API's paths and says of
// their answers who may read them. Never Allow-Credentials, as no cookie means anything
// here. Thread-safe.
class Cors final : public HttpHandler {
 public:
  // Both outlive it.
  Cors(CorsPolicy policy, HttpHandler& next, HttpMetrics& metrics)
      : policy_(std::move(policy)), next_(next), metrics_(metrics) {}

  void Handle(HttpRequest request, HttpRespond respond) override;

 private:
  bool Allows(absl::string_view origin) const;
  HttpResponse Preflight(absl::string_view origin) const;
  void AddOrigin(absl::string_view origin, HttpResponse& response) const;

  const CorsPolicy policy_;
  HttpHandler& next_;
  HttpMetrics& metrics_;
};

}  // namespace carillon
