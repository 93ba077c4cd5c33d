#include "server/http/http_connection.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr size_t kBufferBytes = 64 * 1024;
constexpr absl::Duration kLingerTime = absl::Seconds(1);
constexpr absl::Duration kRetryWhenFull = absl::Seconds(5);
// A body of at most this may come on every connection at once: 320 MB.
constexpr std::uint64_t kSmallBodyBytes = 16 * 1024;
constexpr size_t kLingerBytes = 4 * 1024 * 1024;

std::chrono::nanoseconds Chrono(absl::Duration duration) { return absl::ToChronoNanoseconds(duration); }

absl::string_view View(beast::string_view text) { return {text.data(), text.size()}; }

HttpRequest ToRequest(http::request<http::string_body> message) {
  HttpRequest request;
  request.method = std::string(View(message.method_string()));
  const absl::string_view target = View(message.target());
  const size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));
  if (question != absl::string_view::npos) request.query = std::string(target.substr(question + 1));
  for (const auto& field : message) {
    request.headers.emplace_back(absl::AsciiStrToLower(View(field.name_string())), View(field.value()));
  }
  request.body = std::move(message.body());
  return request;
}

// A value that could end its line would write headers of its own.
bool HeadersAreClean(const HttpResponse& response) {
  return std::all_of(response.headers.begin(), response.headers.end(), [](const auto& header) {
    return std::none_of(header.second.begin(), header.second.end(),
                        [](unsigned char c) { return absl::ascii_iscntrl(c); });
  });
}

bool HasBody(int status) { return status != 204 && status != 304; }

// Without what the body says of itself.
template <typename Body>
http::response<Body> HeadOf(HttpResponse& response, absl::Time now) {
  http::response<Body> message;
  message.version(11);
  message.result(static_cast<unsigned>(response.status));
  AddSecurityHeaders(response);
  message.set(http::field::date, absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", now, absl::UTCTimeZone()));
  for (const auto& [name, value] : response.headers) message.insert(name, value);
  if (!response.content_type.empty()) message.set(http::field::content_type, response.content_type);
  return message;
}

http::response<http::string_body> ToMessage(HttpResponse response, absl::Time now) {
  auto message = HeadOf<http::string_body>(response, now);
  if (HasBody(response.status)) {
    message.content_length(response.body.size());
    message.body() = std::move(response.body);
  }
  return message;
}

}  // namespace

// Answers one request once. Dropped without an answer, it is a fault of ours.
class HttpConnection::Answer {
 public:
  explicit Answer(std::shared_ptr<HttpConnection> connection) : connection_(std::move(connection)) {}
  ~Answer() { Give(ErrorResponse(500, "INTERNAL", "internal error")); }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  bool is_given() const { return given_; }
  void Give(HttpResponse response) {
    if (given_.exchange(true)) return;
    asio::post(connection_->stream_.get_executor(),
               [connection = connection_, response = std::move(response)]() mutable {
                 connection->Respond(std::move(response));
               });
  }

 private:
  const std::shared_ptr<HttpConnection> connection_;
  std::atomic<bool> given_ = false;
};

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, HttpConnectionContext& context,
                               std::function<void()> on_end)
    : context_(context), on_end_(std::move(on_end)), stream_(std::move(socket)), buffer_(kBufferBytes) {}

HttpConnection::~HttpConnection() { on_end_(); }

void HttpConnection::Start() {
  asio::post(stream_.get_executor(), [self = shared_from_this()] { self->ReadHeader(); });
}

void HttpConnection::Drain() {
  asio::post(stream_.get_executor(), [self = shared_from_this()] {
    if (const auto streamed = self->streamed_.lock()) return streamed->End();
    if (self->waiting_ && self->buffer_.size() == 0) self->Close();
  });
}

void HttpConnection::ReadHeader() {
  if (context_.draining) return Close();
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(context_.options.max_header_bytes));
  parser_->body_limit(context_.options.max_body_bytes);
  waiting_ = true;
  // For all of it: who sends a byte now and then is slow, too.
  stream_.expires_after(Chrono(context_.options.idle_timeout));
  http::async_read_header(stream_, buffer_, *parser_, [self = shared_from_this()](ErrorCode failure, size_t) {
    self->waiting_ = false;
    self->OnHeader(failure);
  });
}

void HttpConnection::OnHeader(ErrorCode failure) {
  if (failure) return OnReadFailure(failure);
  const bool has_encoding = parser_->get().count(http::field::transfer_encoding) > 0;
  // The parser passes over it, but a proxy on the way may not.
  if (has_encoding && !parser_->chunked()) return Refuse(400, "INVALID_ARGUMENT", "transfer-encoding must be chunked");
  if (parser_->chunked() || parser_->content_length().value_or(0) > kSmallBodyBytes) {
    body_slot_ = BoundedSlot::Take(context_.large_bodies, context_.options.max_large_bodies);
    if (!body_slot_.has_value()) return Refuse(BusyResponse(kRetryWhenFull));
  }
  stream_.expires_after(Chrono(context_.options.read_timeout));
  const bool asks = absl::EqualsIgnoreCase(View(parser_->get()[http::field::expect]), "100-continue");
  return asks && !parser_->is_done() ? SendContinue() : ReadBody();
}

void HttpConnection::SendContinue() {
  continue_.emplace(http::status::continue_, 11);
  http::async_write(stream_, *continue_, [self = shared_from_this()](ErrorCode failure, size_t) {
    failure ? self->Close() : self->ReadBody();
  });
}

void HttpConnection::ReadBody() {
  http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](ErrorCode failure, size_t) {
    failure ? self->OnReadFailure(failure) : self->Dispatch();
  });
}

void HttpConnection::OnReadFailure(ErrorCode failure) {
  if (failure == http::error::header_limit || failure == http::error::buffer_overflow) {
    return Refuse(431, "HEADERS_TOO_LARGE", "the headers are too large");
  }
  if (failure == http::error::body_limit) return Refuse(413, "BODY_TOO_LARGE", "the body is too large");
  const bool is_malformed = failure.category() == http::make_error_code(http::error::bad_method).category() &&
                            failure != http::error::end_of_stream && failure != http::error::partial_message;
  if (is_malformed) return Refuse(400, "INVALID_ARGUMENT", "not an HTTP/1.1 request");
  Close();
}

void HttpConnection::Dispatch() {
  // Not before: a client that holds its body back takes nobody's place.
  slot_ = BoundedSlot::Take(context_.requests, context_.options.max_requests);
  body_slot_.reset();
  if (!slot_.has_value()) return Refuse(BusyResponse(kRetryWhenFull));
  stream_.expires_never();
  keep_alive_ = parser_->get().keep_alive();
  is_head_ = parser_->get().method() == http::verb::head;
  is_http_10_ = parser_->get().version() < 11;
  const auto answer = std::make_shared<Answer>(shared_from_this());
  client_ = std::make_shared<ClientWatch>();
  HttpRequest request = ToRequest(parser_->release());
  request.client = client_;
  context_.handler.Handle(std::move(request), [answer](HttpResponse response) { answer->Give(std::move(response)); });
  if (!answer->is_given() && buffer_.size() == 0) WatchClient();
}

void HttpConnection::WatchClient() {
  is_watching_ = true;
  stream_.async_read_some(asio::buffer(&watched_, 1), [self = shared_from_this()](ErrorCode failure, size_t read) {
    self->OnWatched(failure, read);
  });
}

void HttpConnection::OnWatched(ErrorCode failure, size_t read) {
  is_watching_ = false;
  buffer_.commit(asio::buffer_copy(buffer_.prepare(read), asio::buffer(&watched_, read)));
  if (answer_.has_value()) {
    HttpResponse answer = *std::move(answer_);
    answer_.reset();
    return Respond(std::move(answer));
  }
  // It may listen still, and then it gets what is answered.
  if (failure) client_->SetGone();
}

void HttpConnection::Refuse(int status, absl::string_view code, absl::string_view message) {
  Refuse(ErrorResponse(status, code, message));
}

void HttpConnection::Refuse(HttpResponse response) {
  keep_alive_ = false;
  is_head_ = false;
  context_.metrics.Count("none", response.status);
  Respond(std::move(response));
}

void HttpConnection::Respond(HttpResponse response) {
  if (is_watching_) {
    answer_ = std::move(response);
    return stream_.cancel();
  }
  client_.reset();
  if (!HeadersAreClean(response)) {
    log::Error("http.header_refused", {{"status", response.status}});
    if (response.producer != nullptr) response.producer->OnEnd();
    response = ErrorResponse(500, "INTERNAL", "internal error");
  }
  if (response.producer != nullptr) return Stream(std::move(response));
  keep_alive_ = keep_alive_ && !context_.draining;
  response_.emplace(ToMessage(std::move(response), context_.clock.Now()));
  response_->keep_alive(keep_alive_);
  // The length stays that of what a GET would bring.
  if (is_head_) response_->body().clear();
  Write();
}

void HttpConnection::Stream(HttpResponse response) {
  const std::shared_ptr<HttpBodyProducer> producer = std::move(response.producer);
  std::optional<BoundedSlot> slot = BoundedSlot::Take(context_.streams, context_.options.max_streams);
  if (context_.draining || !slot.has_value() || is_head_) {
    producer->OnEnd();
    return is_head_ ? Respond(std::move(response)) : RefuseStream(response);
  }
  slot_.reset();
  parser_.reset();
  buffer_.clear();
  buffer_.shrink_to_fit();
  auto head = HeadOf<http::empty_body>(response, context_.clock.Now());
  head.keep_alive(false);
  if (!is_http_10_) head.chunked(true);
  const auto streamed =
      std::make_shared<StreamedAnswer>(StreamedAnswer::Parts{.stream = stream_,
                                                             .owner = shared_from_this(),
                                                             .producer = producer,
                                                             .write_timeout = context_.options.write_timeout,
                                                             .slot = *std::move(slot),
                                                             .metrics = context_.metrics},
                                       std::move(head));
  streamed_ = streamed;
  streamed->Start();
}

void HttpConnection::RefuseStream(const HttpResponse& response) {
  HttpResponse busy = BusyResponse(kRetryWhenFull);
  // Pages of other origins may read this, too.
  busy.headers.insert(busy.headers.end(), response.headers.begin(), response.headers.end());
  context_.metrics.Count("none", busy.status);
  Respond(std::move(busy));
}

void HttpConnection::Write() {
  stream_.expires_after(Chrono(context_.options.write_timeout));
  http::async_write(stream_, *response_,
                    [self = shared_from_this()](ErrorCode failure, size_t) { self->OnWritten(failure); });
}

void HttpConnection::OnWritten(ErrorCode failure) {
  response_.reset();
  slot_.reset();
  body_slot_.reset();
  if (failure) return Close();
  keep_alive_ ? ReadHeader() : Linger();
}

void HttpConnection::Linger() {
  ErrorCode ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(Chrono(kLingerTime));
  Discard(kLingerBytes);
}

void HttpConnection::Discard(size_t left) {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kBufferBytes / 2),
                          [self = shared_from_this(), left](ErrorCode failure, size_t read) {
                            failure || read >= left ? self->Close() : self->Discard(left - read);
                          });
}

void HttpConnection::Close() {
  stream_.expires_never();
  stream_.close();
}

}  // namespace carillon
