// A connection to Redis whose every call ends by a deadline. hiredis writes
// without MSG_NOSIGNAL: the process must ignore SIGPIPE.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/redis/handles.h"
#include "carillon/redis/options.h"

namespace carillon {

// A moment on the monotonic clock. Immutable.
class RedisDeadline {
 public:
  static RedisDeadline After(absl::Duration time) {
    return RedisDeadline(Clock::now() + absl::ToChronoNanoseconds(time));
  }

  // Not below zero.
  absl::Duration remaining() const;
  bool passed() const { return Clock::now() >= moment_; }

 private:
  using Clock = std::chrono::steady_clock;
  explicit RedisDeadline(Clock::time_point moment) : moment_(moment) {}

  Clock::time_point moment_;
};

struct RedisAddress {
  std::string host;
  int port = 6379;
  std::string user;      // Empty: the default user.
  std::string password;  // Empty: no AUTH.
  int database = 0;
};

// redis://[[user]:password@]host[:port][/database]; user and password may be
// percent-encoded, an IPv6 host stands in brackets.
absl::StatusOr<RedisAddress> ParseRedisUrl(absl::string_view url);

// Owner thread only. After UNAVAILABLE or DEADLINE_EXCEEDED it is broken: drop it.
// Replies that are errors come as FAILED_PRECONDITION and leave it usable.
class RedisConnection {
 public:
  // Connects, authenticates and selects the database. Apart from the look-up of a
  // host name, which is the resolver's affair, it ends by the deadline.
  static absl::StatusOr<RedisConnection> Open(const RedisOptions& options, RedisDeadline deadline);

  // Puts a command into the output buffer. Does not block.
  absl::Status Append(absl::Span<const absl::string_view> words);
  // Sends what was appended.
  absl::Status Flush(RedisDeadline deadline);
  // The next reply. nullptr if none came until the deadline; the connection is
  // then as good as before.
  absl::StatusOr<RedisReplyPtr> Read(RedisDeadline deadline);
  // Reads so many replies and drops them, so that the connection stays in step.
  // The first that was an error is returned at the end.
  absl::Status ReadAndDrop(size_t count, RedisDeadline deadline);
  // Append, Flush and Read; no reply is DEADLINE_EXCEEDED.
  absl::StatusOr<RedisReplyPtr> Call(absl::Span<const absl::string_view> words, RedisDeadline deadline);

 private:
  explicit RedisConnection(RedisContextPtr context) : context_(std::move(context)) {}

  absl::Status Failure() const;
  // OK: ready. DEADLINE_EXCEEDED: not until then.
  absl::Status WaitUntilReady(short events, RedisDeadline deadline) const;

  RedisContextPtr context_;
};

}  // namespace carillon
