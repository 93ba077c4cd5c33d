// Wake-ups between processes: hints that a recipient's feed has changed. At most
// once, unordered; whoever listens also looks at PostgreSQL from time to time.
#pragma once

#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
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
  // Sends to whoever listens for these feeds. `payload_of` is called, on this
  // thread, for those only that somebody listens for. Bounded wait (500 ms). An
  // error means that some or all were not sent; the caller drops them, and the
  // sweep finds them.
  virtual absl::Status Publish(absl::Span<const FeedKey> keys, absl::FunctionRef<std::string(size_t)> payload_of) = 0;
  // Tells every server that the app has a new event that is stored once: streams
  // of its recipients may be behind. Bounded as Publish.
  virtual absl::Status PublishSharedEvent(AppId app) = 0;
};

// Which feeds this server holds streams of, for those who publish. Thread-safe.
class Presence {
 public:
  virtual ~Presence() = default;
  // From now on there is a stream, or none any more. Does not block. `announced`
  // is called once, on a thread of the implementation, when publishers can know of
  // it or when that can't be told: at most about 200 ms later.
  virtual void Add(const FeedKey& key, std::function<void()> announced) = 0;
  virtual void Remove(const FeedKey& key) = 0;
};

// Listens on a thread of its own from Start to Stop, and reconnects by itself.
class LiveListener {
 public:
  struct Callbacks {
    // Called on the listener's thread; must not block.
    std::function<void(LiveMessage)> on_message;
    // The app has a new event that is stored once.
    std::function<void(AppId)> on_shared_event;
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
