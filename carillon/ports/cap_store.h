// How many messages of a type a recipient was sent on a channel lately.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/decider.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/notification.h"

namespace carillon {

// Thread-safe.
class CapStore {
 public:
  // May a message be sent?
  struct Request {
    FeedKey key;
    Channel channel = Channel::kEmail;
    std::string type;
    // The notification: it takes one place in a window, however often it comes.
    Uuid member;
    // Of this channel and type; at least one.
    std::vector<Cap> caps;
    // How far the app's clock is ahead of ours.
    absl::Duration clock_offset;
  };
  enum class Mode { kTake, kPeek };

  virtual ~CapStore() = default;

  // Of each request, the cap that leaves the least room. Takes a place in all windows of
  // a request, or, where one of them is full, in none. Does not fail and blocks for a
  // bounded time: while the store is away, windows of this process stand in.
  virtual std::vector<CapUse> Use(absl::Span<const Request> requests, Mode mode) = 0;
};

// The store that all processes share, which may be away. Thread-safe.
class SharedCapStore {
 public:
  virtual ~SharedCapStore() = default;

  // As CapStore::Use; nothing for those to which it has no answer.
  virtual std::vector<std::optional<CapUse>> Use(absl::Span<const CapStore::Request> requests, CapStore::Mode mode) = 0;
};

}  // namespace carillon
