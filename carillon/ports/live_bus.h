// Wake-ups between processes: hints that a recipient's feed has changed. At most
// once, unordered; whoever listens also looks at PostgreSQL from time to time.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"

namespace carillon {

struct LiveMessage {
  FeedKey key;
  std::string payload;  // A serialised carillon.internal.v1.LiveUpdate.
};

// Thread-safe.
class LivePublisher {
 public:
  virtual ~LivePublisher() = default;
  // Sends all in one round trip. Bounded wait (500 ms). An error means that some
  // or all were not sent; the caller drops them, and the sweep finds them.
  virtual absl::Status Publish(absl::Span<const LiveMessage> messages) = 0;
};

// Listens on a thread of its own from Start to Stop, and reconnects by itself.
class LiveListener {
 public:
  struct Callbacks {
    // Called on the listener's thread; must not block.
    std::function<void(LiveMessage)> on_message;
    // After each (re)connect: what was sent meanwhile is lost, look at the store.
    std::function<void()> on_connected;
  };
  virtual ~LiveListener() = default;
  virtual void Start(Callbacks callbacks) = 0;
  // Returns when no callback runs any more. Idempotent.
  virtual void Stop() = 0;
  virtual bool connected() const = 0;
};

}  // namespace carillon
