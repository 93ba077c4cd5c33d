#include "server/http/http_message.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace carillon {
namespace {

const std::pair<std::string, std::string>* Find(const HttpHeaders& headers, absl::string_view name) {
  const auto found = std::find_if(headers.begin(), headers.end(),
                                  [&](const auto& header) { return absl::EqualsIgnoreCase(header.first, name); });
  return found == headers.end() ? nullptr : &*found;
}

void AddUnlessSet(HttpResponse& response, absl::string_view name, absl::string_view value) {
  if (!response.HasHeader(name)) response.headers.emplace_back(std::string(name), std::string(value));
}

}  // namespace

void ClientWatch::OnGone(std::function<void()> on_gone) {
  {
    absl::MutexLock lock(&mutex_);
    if (!is_gone_) {
      on_gone_ = std::move(on_gone);
      return;
    }
  }
  on_gone();
}

void ClientWatch::SetGone() {
  std::function<void()> on_gone;
  {
    absl::MutexLock lock(&mutex_);
    is_gone_ = true;
    on_gone = std::exchange(on_gone_, nullptr);
  }
  if (on_gone != nullptr) on_gone();
}

absl::string_view HttpRequest::Header(absl::string_view name) const {
  const auto* found = Find(headers, name);
  return found == nullptr ? absl::string_view() : absl::string_view(found->second);
}

bool HttpResponse::HasHeader(absl::string_view name) const { return Find(headers, name) != nullptr; }

HttpResponse TextResponse(int status, absl::string_view text) {
  return {
      .status = status, .content_type = "text/plain; charset=utf-8", .body = absl::StrCat(text, "\n"), .headers = {}};
}

HttpResponse JsonResponse(std::string json) {
  return {.status = 200, .content_type = "application/json", .body = std::move(json), .headers = {}};
}

HttpResponse HtmlResponse(int status, std::string html) {
  return {.status = status, .content_type = "text/html; charset=utf-8", .body = std::move(html), .headers = {}};
}

HttpResponse NoContent() { return {.status = 204, .content_type = "", .body = "", .headers = {}}; }

HttpResponse ErrorResponse(int status, absl::string_view code, absl::string_view message) {
  const nlohmann::json error = {{"code", std::string(code)}, {"message", std::string(message)}};
  HttpResponse response =
      JsonResponse(error.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace));
  response.status = status;
  return response;
}

HttpResponse BusyResponse(absl::Duration retry_after) {
  HttpResponse response = ErrorResponse(503, "UNAVAILABLE", "too busy at the moment; try again");
  const int64_t seconds = std::max<int64_t>(1, absl::ToInt64Seconds(absl::Ceil(retry_after, absl::Seconds(1))));
  response.headers.emplace_back("Retry-After", absl::StrCat(seconds));
  return response;
}

void AddSecurityHeaders(HttpResponse& response) {
  AddUnlessSet(response, "X-Content-Type-Options", "nosniff");
  AddUnlessSet(response, "Cache-Control", "no-store");
  // Addresses hold tokens.
  AddUnlessSet(response, "Referrer-Policy", "no-referrer");
  if (absl::StartsWith(response.content_type, "text/html")) {
    AddUnlessSet(response, "Content-Security-Policy",
                 "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'");
  }
}

void RunBlocking(Executor& executor, HttpRespond respond, std::function<HttpResponse()> work) {
  const auto shared = std::make_shared<HttpRespond>(std::move(respond));
  const bool taken = executor.Submit([shared, work = std::move(work)] { (*shared)(work()); });
  if (!taken) (*shared)(BusyResponse(absl::Seconds(1)));
}

}  // namespace carillon
