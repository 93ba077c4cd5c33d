#include "carillon/redis/connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>

#include <cerrno>

#include "absl/container/inlined_vector.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

absl::Status Unavailable(const char* why) { return error::BackendUnavailable("redis", why); }

// nullopt if a % is not followed by two hexadecimal digits.
std::optional<std::string> PercentDecode(absl::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    const absl::string_view digits = text.substr(i + 1, 2);
    if (digits.size() < 2 || !absl::ascii_isxdigit(digits[0]) || !absl::ascii_isxdigit(digits[1])) return std::nullopt;
    result += absl::HexStringToBytes(digits);
    i += 2;
  }
  return result;
}

bool ParseCredentials(absl::string_view text, RedisAddress* address) {
  const size_t colon = text.find(':');
  if (colon == absl::string_view::npos) return false;
  const std::optional<std::string> user = PercentDecode(text.substr(0, colon));
  const std::optional<std::string> password = PercentDecode(text.substr(colon + 1));
  if (!user.has_value() || !password.has_value()) return false;
  address->user = *user;
  address->password = *password;
  return true;
}

bool ParseHostAndPort(absl::string_view text, RedisAddress* address) {
  if (absl::ConsumePrefix(&text, "[")) {
    const size_t end = text.find(']');
    if (end == absl::string_view::npos) return false;
    address->host = std::string(text.substr(0, end));
    text.remove_prefix(end + 1);
  } else {
    address->host = std::string(text.substr(0, text.find(':')));
    text.remove_prefix(address->host.size());
  }
  if (absl::ConsumePrefix(&text, ":")) {
    if (!absl::SimpleAtoi(text, &address->port) || address->port < 1 || address->port > 65535) return false;
    text = {};
  }
  return !address->host.empty() && text.empty();
}

bool ParseDatabase(absl::string_view text, RedisAddress* address) {
  return text.empty() || (absl::SimpleAtoi(text, &address->database) && address->database >= 0);
}

absl::Status CheckReply(const redisReply& reply) {
  if (reply.type != REDIS_REPLY_ERROR) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("redis: ", absl::string_view(reply.str, reply.len)));
}

// hiredis leaves its sockets blocking; here every wait is a poll with a deadline.
bool MakeNonBlocking(redisContext* context) {
  const int flags = fcntl(context->fd, F_GETFL);
  if (flags < 0 || fcntl(context->fd, F_SETFL, flags | O_NONBLOCK) < 0) return false;
  context->flags &= ~REDIS_BLOCK;
  return true;
}

absl::Status Introduce(const RedisAddress& address, RedisDeadline deadline, RedisConnection* connection) {
  if (!address.password.empty()) {
    std::vector<absl::string_view> words = {"AUTH"};
    if (!address.user.empty()) words.push_back(address.user);
    words.push_back(address.password);
    RETURN_IF_ERROR(connection->Call(words, deadline).status());
  }
  if (address.database == 0) return absl::OkStatus();
  const std::string database = absl::StrCat(address.database);
  return connection->Call({"SELECT", database}, deadline).status();
}

}  // namespace

absl::Duration RedisDeadline::remaining() const {
  return std::max(absl::FromChrono(moment_ - Clock::now()), absl::ZeroDuration());
}

absl::StatusOr<RedisAddress> ParseRedisUrl(absl::string_view url) {
  // The URL may hold a password: errors do not repeat it.
  const absl::Status malformed =
      absl::InvalidArgumentError("the Redis URL must be redis://[[user]:password@]host[:port][/database]");
  if (!absl::ConsumePrefix(&url, "redis://")) return malformed;
  RedisAddress address;
  if (const size_t at = url.rfind('@'); at != absl::string_view::npos) {
    if (!ParseCredentials(url.substr(0, at), &address)) return malformed;
    url.remove_prefix(at + 1);
  }
  const size_t slash = url.find('/');
  const absl::string_view database = slash == absl::string_view::npos ? absl::string_view() : url.substr(slash + 1);
  if (!ParseHostAndPort(url.substr(0, slash), &address) || !ParseDatabase(database, &address)) return malformed;
  return address;
}

absl::StatusOr<RedisConnection> RedisConnection::Open(const RedisOptions& options, RedisDeadline deadline) {
  ASSIGN_OR_RETURN(const RedisAddress address, ParseRedisUrl(options.url));
  const absl::Duration timeout = std::min(options.connect_timeout, deadline.remaining());
  if (timeout <= absl::ZeroDuration()) return Unavailable("no time left to connect");
  RedisContextPtr context(redisConnectWithTimeout(address.host.c_str(), address.port, absl::ToTimeval(timeout)));
  if (context == nullptr) return Unavailable("out of memory");
  if (context->err != 0) return Unavailable(context->errstr);
  if (!MakeNonBlocking(context.get())) return Unavailable("the socket can't be made non-blocking");
  RedisConnection connection(std::move(context));
  RETURN_IF_ERROR(Introduce(address, deadline, &connection));
  return connection;
}

absl::Status RedisConnection::Append(absl::Span<const absl::string_view> words) {
  absl::InlinedVector<const char*, 8> data;
  absl::InlinedVector<size_t, 8> sizes;
  for (const absl::string_view word : words) {
    data.push_back(word.data());
    sizes.push_back(word.size());
  }
  const int count = static_cast<int>(words.size());
  if (redisAppendCommandArgv(context_.get(), count, data.data(), sizes.data()) != REDIS_OK) return Failure();
  return absl::OkStatus();
}

absl::Status RedisConnection::Flush(RedisDeadline deadline) {
  int done = 0;
  while (true) {
    if (redisBufferWrite(context_.get(), &done) != REDIS_OK) return Failure();
    if (done != 0) return absl::OkStatus();
    RETURN_IF_ERROR(WaitUntilReady(POLLOUT, deadline));
  }
}

absl::StatusOr<RedisReplyPtr> RedisConnection::Read(RedisDeadline deadline) {
  while (true) {
    void* reply = nullptr;
    if (redisGetReplyFromReader(context_.get(), &reply) != REDIS_OK) return Failure();
    if (reply != nullptr) {
      RedisReplyPtr result(static_cast<redisReply*>(reply));
      RETURN_IF_ERROR(CheckReply(*result));
      return result;
    }
    const absl::Status ready = WaitUntilReady(POLLIN, deadline);
    if (absl::IsDeadlineExceeded(ready)) return RedisReplyPtr();
    RETURN_IF_ERROR(ready);
    if (redisBufferRead(context_.get()) != REDIS_OK) return Failure();
  }
}

absl::Status RedisConnection::ReadAndDrop(size_t count, RedisDeadline deadline) {
  absl::Status first_refusal;
  for (size_t i = 0; i < count; ++i) {
    const absl::StatusOr<RedisReplyPtr> reply = Read(deadline);
    if (absl::IsFailedPrecondition(reply.status())) {
      first_refusal.Update(reply.status());
    } else if (!reply.ok()) {
      return reply.status();
    } else if (*reply == nullptr) {
      return absl::DeadlineExceededError("redis: no reply in time");
    }
  }
  return first_refusal;
}

absl::StatusOr<RedisReplyPtr> RedisConnection::Call(absl::Span<const absl::string_view> words, RedisDeadline deadline) {
  RETURN_IF_ERROR(Append(words));
  RETURN_IF_ERROR(Flush(deadline));
  ASSIGN_OR_RETURN(RedisReplyPtr reply, Read(deadline));
  if (reply == nullptr) return absl::DeadlineExceededError("redis: no reply in time");
  return reply;
}

absl::Status RedisConnection::Failure() const {
  return Unavailable(context_->err != 0 ? context_->errstr : "the connection failed");
}

absl::Status RedisConnection::WaitUntilReady(short events, RedisDeadline deadline) const {
  while (true) {
    pollfd descriptor{.fd = context_->fd, .events = events, .revents = 0};
    // Rounded up: a wait of part of a millisecond must not become a busy loop.
    const int64_t milliseconds = absl::ToInt64Milliseconds(absl::Ceil(deadline.remaining(), absl::Milliseconds(1)));
    const int ready = poll(&descriptor, 1, static_cast<int>(milliseconds));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return Unavailable("poll failed");
    if (deadline.passed()) return absl::DeadlineExceededError("redis: no answer in time");
  }
}

}  // namespace carillon
