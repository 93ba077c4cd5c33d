#include "server/pages/page_routes.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/pages/page_files.h"

namespace carillon {
namespace {

// Texts of strangers (errors, payloads, notifications) are shown here: no script but
// those of this build runs, and none can turn text into markup.
constexpr absl::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

absl::string_view ContentType(absl::string_view name) {
  if (absl::EndsWith(name, ".html")) return "text/html; charset=utf-8";
  if (absl::EndsWith(name, ".css")) return "text/css; charset=utf-8";
  if (absl::EndsWith(name, ".svg")) return "image/svg+xml";
  return "text/javascript; charset=utf-8";
}

std::string Path(absl::string_view name) {
  if (absl::ConsumeSuffix(&name, ".html")) return absl::StrCat("/", name);
  return absl::StrCat("/pages/", name);
}

bool Knows(absl::string_view if_none_match, absl::string_view tag) {
  for (absl::string_view known : absl::StrSplit(if_none_match, ',')) {
    known = absl::StripAsciiWhitespace(known);
    absl::ConsumePrefix(&known, "W/");
    if (known == tag || known == "*") return true;
  }
  return false;
}

HttpResponse Answer(const PageFile& file, const HttpRequest& request) {
  const std::string tag = absl::StrCat("\"", file.digest, "\"");
  HttpResponse response{.status = 304, .content_type = "", .body = "", .headers = {}};
  response.headers.emplace_back("ETag", tag);
  response.headers.emplace_back("Cache-Control", "no-cache");
  if (Knows(request.Header("If-None-Match"), tag)) return response;
  response.status = 200;
  response.content_type = std::string(ContentType(file.name));
  response.body = std::string(file.content);
  response.headers.emplace_back("Content-Security-Policy", std::string(kPolicy));
  response.headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
  response.headers.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
  return response;
}

}  // namespace

void AddPageRoutes(Router& router) {
  for (const PageFile& file : PageFiles()) {
    router.Add("GET", Path(file.name),
               [file](const HttpRequest& request, const HttpRespond& respond) { respond(Answer(file, request)); });
  }
}

}  // namespace carillon
