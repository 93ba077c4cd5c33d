#include "server/http/router.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"

namespace carillon {
namespace {

constexpr absl::string_view kNoRoute = "none";

bool Matches(absl::string_view route, absl::string_view path) {
  return absl::EndsWith(route, "/") ? absl::StartsWith(path, route) && path.size() > route.size() : path == route;
}

HttpResponse MethodNotAllowed(std::string allowed) {
  HttpResponse response = ErrorResponse(405, "METHOD_NOT_ALLOWED", "this address takes other methods");
  response.headers.emplace_back("Allow", std::move(allowed));
  return response;
}

}  // namespace

void Router::Add(const std::string& method, const std::string& path, Function function) {
  routes_[path][method] = std::move(function);
}

Router::Routes::const_iterator Router::Find(absl::string_view path) const {
  auto best = routes_.end();
  for (auto route = routes_.begin(); route != routes_.end(); ++route) {
    if (!Matches(route->first, path)) continue;
    if (best == routes_.end() || route->first.size() > best->first.size()) best = route;
  }
  return best;
}

void Router::Handle(HttpRequest request, HttpRespond respond) {
  const auto route = Find(request.path);
  const absl::string_view name = route == routes_.end() ? kNoRoute : absl::string_view(route->first);
  HttpRespond counted = [this, name, respond = std::move(respond)](HttpResponse response) {
    metrics_.Count(name, response.status);
    respond(std::move(response));
  };
  if (route == routes_.end()) return counted(ErrorResponse(404, "NOT_FOUND", "nothing is served here"));
  const Methods& methods = route->second;
  const auto method = methods.find(request.method);
  if (method == methods.end()) {
    return counted(MethodNotAllowed(
        absl::StrJoin(methods, ", ", [](std::string* out, const auto& known) { out->append(known.first); })));
  }
  request.rest = request.path.substr(name.size());
  method->second(std::move(request), std::move(counted));
}

}  // namespace carillon
