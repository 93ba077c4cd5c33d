// One connection of the HTTP port. Inner part of http_server.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "server/http/bounded_slot.h"
#include "server/http/http_message.h"
#include "server/http/http_server.h"
#include "server/http/streamed_answer.h"

namespace carillon {

// What the connections of a server share. Outlives them.
struct HttpConnectionContext {
  const HttpServerOptions& options;
  HttpHandler& handler;
  HttpMetrics& metrics;
  const Clock& clock;
  std::atomic<bool> draining{false};
  std::atomic<size_t> requests{0};
  std::atomic<size_t> large_bodies{0};
  std::atomic<size_t> streams{0};
};

// Lives as long as something of it is under way. Everything runs on its strand.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  // `on_end` runs in the destructor.
  HttpConnection(boost::asio::ip::tcp::socket socket, HttpConnectionContext& context, std::function<void()> on_end);
  ~HttpConnection();

  void Start();
  // Closes it if nothing of a request has come or if it streams; else it ends with the
  // answer. Any thread.
  void Drain();

 private:
  using ErrorCode = boost::system::error_code;
  using RequestParser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;
  class Answer;

  void ReadHeader();
  void OnHeader(ErrorCode failure);
  // The client waits for leave to send the body.
  void SendContinue();
  void ReadBody();
  void OnReadFailure(ErrorCode failure);
  void Dispatch();
  // Until the answer is there, so that a call whose client has gone can end. What else is
  // read is the next request's.
  void WatchClient();
  void OnWatched(ErrorCode failure, size_t read);
  // Once nothing is read any more.
  void Respond(HttpResponse response);
  // An answer whose body comes over time: it takes the connection over.
  void Stream(HttpResponse response);
  // It stands in for the stream's, whose headers it takes over.
  void RefuseStream(const HttpResponse& response);
  // Refuses a request that is broken; the connection ends with it.
  void Refuse(int status, absl::string_view code, absl::string_view message);
  void Refuse(HttpResponse response);
  void Write();
  void OnWritten(ErrorCode failure);
  // Says goodbye, and reads what the client still sends for a moment, so that the
  // answer reaches it.
  void Linger();
  void Discard(size_t left);
  void Close();

  HttpConnectionContext& context_;
  const std::function<void()> on_end_;
  // Of the request under way, and of its body while that comes.
  std::optional<BoundedSlot> slot_;
  std::optional<BoundedSlot> body_slot_;
  std::weak_ptr<StreamedAnswer> streamed_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<RequestParser> parser_;
  std::optional<Response> response_;
  std::optional<boost::beast::http::response<boost::beast::http::empty_body>> continue_;
  std::shared_ptr<ClientWatch> client_;
  std::optional<HttpResponse> answer_;  // Until the watch has ended.
  char watched_ = 0;
  bool is_watching_ = false;
  bool waiting_ = false;  // For a request's headers.
  bool keep_alive_ = false;
  bool is_head_ = false;
  bool is_http_10_ = false;
};

}  // namespace carillon
