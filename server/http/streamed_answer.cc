#include "server/http/streamed_answer.h"

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/write.hpp>
#include <utility>

namespace carillon {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

// What a client may say that should listen.
constexpr size_t kMaxUnaskedBytes = 64 * 1024;

}  // namespace

StreamedAnswer::StreamedAnswer(Parts parts, Head head)
    : parts_(std::move(parts)), executor_(parts_.stream.get_executor()), head_(std::move(head)) {}

void StreamedAnswer::Start() {
  parts_.metrics.streams().Increment();
  parts_.stream.expires_never();
  WatchClient();
  parts_.stream.expires_after(absl::ToChronoNanoseconds(parts_.write_timeout));
  http::async_write_header(parts_.stream, serializer_,
                           [self = shared_from_this()](ErrorCode failure, size_t) { self->OnSent(failure); });
}

void StreamedAnswer::Post(std::string bytes, bool is_last) {
  asio::post(executor_, [self = shared_from_this(), bytes = std::move(bytes), is_last]() mutable {
    self->Send(std::move(bytes), is_last);
  });
}

void StreamedAnswer::Abort() {
  asio::post(executor_, [self = shared_from_this()] { self->End(); });
}

void StreamedAnswer::Send(std::string bytes, bool is_last) {
  if (ended_) return;
  piece_ = std::move(bytes);
  is_last_ = is_last;
  const auto body = asio::buffer(piece_);
  if (!head_.chunked()) return piece_.empty() ? OnSent({}) : SendBuffers(body);
  // An empty chunk would be the last.
  if (piece_.empty()) return is_last ? SendBuffers(http::make_chunk_last()) : OnSent({});
  if (!is_last) return SendBuffers(http::make_chunk(body));
  SendBuffers(boost::beast::buffers_cat(http::make_chunk(body), http::make_chunk_last()));
}

template <typename Buffers>
void StreamedAnswer::SendBuffers(const Buffers& buffers) {
  // Of this write alone: the read that is under way keeps waiting for as long as it takes.
  parts_.stream.expires_after(absl::ToChronoNanoseconds(parts_.write_timeout));
  asio::async_write(parts_.stream, buffers,
                    [self = shared_from_this()](ErrorCode failure, size_t) { self->OnSent(failure); });
}

void StreamedAnswer::OnSent(ErrorCode failure) {
  if (ended_) return;
  piece_ = std::string();
  if (failure || is_last_) return End();
  if (is_open_) return parts_.producer->OnWritten();
  is_open_ = true;
  parts_.producer->OnOpen(shared_from_this());
}

void StreamedAnswer::WatchClient() {
  parts_.stream.async_read_some(asio::buffer(unasked_), [self = shared_from_this()](ErrorCode failure, size_t read) {
    if (self->ended_) return;
    self->unasked_bytes_ += read;
    failure || self->unasked_bytes_ > kMaxUnaskedBytes ? self->End() : self->WatchClient();
  });
}

void StreamedAnswer::End() {
  if (ended_) return;
  ended_ = true;
  // What was sent still arrives: nothing that came was left unread.
  ErrorCode ignored;
  parts_.stream.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  parts_.stream.close();
  parts_.metrics.streams().Decrement();
  parts_.producer->OnEnd();
  parts_.producer.reset();
  const BoundedSlot slot = std::move(parts_.slot);
  const std::shared_ptr<void> owner = std::move(parts_.owner);
}

}  // namespace carillon
