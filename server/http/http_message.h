// Requests and answers of the HTTP port, as handlers see them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/runtime/executor.h"
#include "server/http/http_body.h"

namespace carillon {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// Of a request that is not answered yet: whether its client has gone. Thread-safe.
class ClientWatch {
 public:
  // `on_gone` runs once, at once if the client has gone already; else on a thread of the
  // port, so it must not block.
  void OnGone(std::function<void()> on_gone) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetGone() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Mutex mutex_;
  bool is_gone_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> on_gone_ ABSL_GUARDED_BY(mutex_);
};

struct HttpRequest {
  std::string method;
  std::string path;   // Without the query; not decoded.
  std::string query;  // Without the question mark; not decoded.
  std::string rest;   // What follows the path of the route.
  HttpHeaders headers;
  std::string body;
  std::shared_ptr<ClientWatch> client;  // None: nobody looks.

  // The first value, whatever the case of the name; empty if there is none.
  absl::string_view Header(absl::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;  // Empty: there is no body.
  std::string body;
  HttpHeaders headers;
  // If there is one, it makes the body, instead.
  std::shared_ptr<HttpBodyProducer> producer;

  bool HasHeader(absl::string_view name) const;
};

// Gives the answer; exactly once, on any thread. A request whose function is
// dropped without a call is answered with 500.
using HttpRespond = std::function<void(HttpResponse)>;

// Handles requests. Thread-safe; must not block: it is called on a thread of the port.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  virtual void Handle(HttpRequest request, HttpRespond respond) = 0;
};

HttpResponse TextResponse(int status, absl::string_view text);
HttpResponse JsonResponse(std::string json);
HttpResponse HtmlResponse(int status, std::string html);
HttpResponse NoContent();
// {"code": ..., "message": ...}.
HttpResponse ErrorResponse(int status, absl::string_view code, absl::string_view message);
// 503, and when to come back.
HttpResponse BusyResponse(absl::Duration retry_after);

// Adds what every answer says unless it says otherwise: that its type is not to be
// guessed, that it is not to be kept, and that its address is told to nobody; of
// pages, that they load nothing.
void AddSecurityHeaders(HttpResponse& response);

// Answers with what `work` returns on a thread that may block; with 503 if none can
// take it.
void RunBlocking(Executor& executor, HttpRespond respond, std::function<HttpResponse()> work);

}  // namespace carillon
