// Which handler a request goes to, by its path and method.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "server/http/http_message.h"
#include "server/http/http_metrics.h"

namespace carillon {

// Add everything first; then thread-safe. Counts every answer by its route.
class Router final : public HttpHandler {
 public:
  using Function = std::function<void(HttpRequest, HttpRespond)>;

  // `metrics` outlives it.
  explicit Router(HttpMetrics& metrics) : metrics_(metrics) {}

  // A path that ends in '/' stands for everything below it, where no longer one
  // does; what follows it is the request's rest. Any other is meant as it is.
  void Add(const std::string& method, const std::string& path, Function function);

  // 404 for paths without a route, 405 for methods that a route does not have.
  void Handle(HttpRequest request, HttpRespond respond) override;

 private:
  using Methods = std::map<std::string, Function, std::less<>>;
  using Routes = std::map<std::string, Methods, std::less<>>;

  Routes::const_iterator Find(absl::string_view path) const;

  HttpMetrics& metrics_;
  Routes routes_;
};

}  // namespace carillon
