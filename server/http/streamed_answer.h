// An answer whose body comes over time. Inner part of http_connection.
#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/serializer.hpp>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "server/http/bounded_slot.h"
#include "server/http/http_body.h"
#include "server/http/http_metrics.h"

namespace carillon {

// One write is under way at a time. A read is, too, until the end: that is how it
// learns that the client has gone. Runs on the stream's strand, except HttpBodySink's
// methods: those may come on any thread.
class StreamedAnswer final : public HttpBodySink, public std::enable_shared_from_this<StreamedAnswer> {
 public:
  using Head = boost::beast::http::response<boost::beast::http::empty_body>;
  struct Parts {
    boost::beast::tcp_stream& stream;
    // Of what the stream is a part; held until the end.
    std::shared_ptr<void> owner;
    std::shared_ptr<HttpBodyProducer> producer;
    absl::Duration write_timeout;  // For each piece.
    BoundedSlot slot;
    HttpMetrics& metrics;
  };

  // Chunked if the head says so; else the body ends with the connection.
  StreamedAnswer(Parts parts, Head head);

  void Start();
  // Closes the connection. Idempotent.
  void End();

  // HttpBodySink
  void Write(std::string bytes) override { Post(std::move(bytes), /*is_last=*/false); }
  void Finish(std::string bytes) override { Post(std::move(bytes), /*is_last=*/true); }
  void Abort() override;

 private:
  using ErrorCode = boost::system::error_code;

  void Post(std::string bytes, bool is_last);
  void Send(std::string bytes, bool is_last);
  template <typename Buffers>
  void SendBuffers(const Buffers& buffers);
  void OnSent(ErrorCode failure);
  // Nothing that the client sends is of use, but that it goes is.
  void WatchClient();

  Parts parts_;
  const boost::asio::any_io_executor executor_;
  Head head_;
  boost::beast::http::response_serializer<boost::beast::http::empty_body> serializer_{head_};
  std::string piece_;
  bool is_open_ = false;
  bool is_last_ = false;
  bool ended_ = false;
  size_t unasked_bytes_ = 0;
  std::array<char, 128> unasked_;
};

}  // namespace carillon
