// The HTTP/1.1 port.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/clock.h"
#include "server/http/http_message.h"
#include "server/http/http_metrics.h"

namespace carillon {

struct HttpServerOptions {
  std::string listen;  // address:port; an address, not a name. Port 0: any.
  int threads = 2;
  size_t max_header_bytes = 8 * 1024;  // Of the request line and all headers.
  size_t max_body_bytes = 1024 * 1024;
  size_t max_connections = limits::kMaxHttpConnections;  // More are closed at once.
  size_t max_requests = limits::kMaxHttpRequests;  // Under way at once, without streams; more are told to come again.
  size_t max_streams = limits::kMaxHttpStreams;    // The same.
  size_t max_large_bodies = 250;  // Coming in at once, of more than 16 KiB or unknown length; the same.
  absl::Duration idle_timeout = absl::Seconds(10);   // Until a request's headers are there.
  absl::Duration read_timeout = absl::Seconds(10);   // From there until its body is there.
  absl::Duration write_timeout = absl::Seconds(10);  // For a whole answer; for each piece of a stream.
  absl::Duration drain_time = absl::Seconds(5);      // What is under way when it stops.
};

// Connections are kept alive; each has one request under way at a time. Requests
// that break a limit or the protocol are answered with 400, 413 or 431 and their
// connection is closed, and so is that of a stream at its end. Streams may be idle for
// as long as they like; that their client has gone is noticed all the same, as it is
// while a request waits for its answer. Thread-safe after Start.
class HttpServer {
 public:
  // Everything given outlives it, and whatever may still answer a request has ended
  // before it is destroyed.
  HttpServer(HttpServerOptions options, HttpHandler& handler, HttpMetrics& metrics, const Clock& clock);
  // Stops.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Returns the port. INVALID_ARGUMENT for an address that can't be read, UNAVAILABLE
  // for one that can't be listened on.
  absl::StatusOr<int> Start();
  // Takes no more, closes idle connections and streams, lets what is under way be
  // answered for drain_time and closes the rest. Idempotent; legal before Start.
  void Stop();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace carillon
