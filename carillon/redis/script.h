// A Lua script that Redis runs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "carillon/redis/connection.h"

namespace carillon {

// Immutable; safe to share.
class RedisScript {
 public:
  // Keys of one call lie on one node of a cluster, if there is one.
  struct Call {
    std::vector<std::string> keys;
    std::vector<std::string> arguments;
  };

  using Replies = std::vector<absl::StatusOr<RedisReplyPtr>>;

  explicit RedisScript(absl::string_view text);

  // All calls in one round trip, and what each replies, in order; FAILED_PRECONDITION
  // where Redis refused one. Redis knows the script by its digest. One that has forgotten
  // it (a restart, SCRIPT FLUSH) is given it, and asked again for what it did not answer.
  absl::StatusOr<Replies> Run(absl::Span<const Call> calls, RedisConnection& connection, RedisDeadline deadline) const;

 private:
  // Those of the calls.
  absl::Status Ask(absl::Span<const Call> calls, absl::Span<const size_t> asked, RedisConnection& connection,
                   RedisDeadline deadline, Replies& replies) const;

  const std::string text_;
  const std::string digest_;
};

}  // namespace carillon
