// What the relay and the workers need from a message broker. Implementations are
// owned by one thread each, unless a class says otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/topology.h"

namespace carillon {

// A message on its way out. Always persistent, and mandatory unless it is an event:
// if no queue takes it, it comes back.
struct OutboundMessage {
  std::string exchange;  // Empty: the default exchange; routing_key is a queue.
  std::string routing_key;
  std::string message_id;   // Stable across retries: consumers tell duplicates by it.
  AppId app;                // Header x-app.
  std::string type;         // Header x-type.
  std::string traceparent;  // W3C trace context; empty: none.
  int retry_count = 0;      // Header x-retry-count; 0: absent.
  int replay_count = 0;     // Header x-replay-count; 0: absent.
  std::string reason;       // Header x-death-cause, on dead letters; empty: absent.
  std::string error;        // Header x-error; empty: absent.
  // For whoever listens, which may be nobody; the body is JSON instead of an envelope.
  bool is_event = false;
  std::string body;
};

enum class PublishOutcome {
  kConfirmed,  // A queue has it, on disk.
  kReturned,   // No queue is bound for it; nobody has it.
  kRefused,    // The broker said no (queue full, or an error of its own); nobody has it.
  kUnknown,    // No answer in time, or the connection was lost: it may or may not be there.
};

// Publishes with confirms. Owner thread only.
class Publisher {
 public:
  virtual ~Publisher() = default;

  // Publishes all and waits for their confirms, at most `timeout` in all. One
  // outcome per message, in order. After a lost connection the rest are
  // kUnknown and the next call connects again. An error means that nothing was
  // sent (no connection could be made). Safe to repeat: consumers deduplicate.
  virtual absl::StatusOr<std::vector<PublishOutcome>> Publish(absl::Span<const OutboundMessage> messages,
                                                              absl::Duration timeout) = 0;

  // Makes sure that `key` leads from `exchange` to `queue`. Remembered for the
  // life of the connection; forgotten for a key whose message was returned.
  virtual absl::Status EnsureBinding(const BindingSpec& binding) = 0;

  // Reads what the broker has sent and answers heartbeats. Call at least every
  // 5 s while idle. An error means that the connection is gone; it is made
  // again by the next call that needs it.
  virtual absl::Status Service() = 0;
};

// A message that was received.
struct InboundMessage {
  uint64_t tag = 0;  // The consumer's affair: which message on which of its channels.
  std::string queue;
  std::string body;
  std::string message_id;
  std::string exchange;
  std::string routing_key;
  bool redelivered = false;
  int retry_count = 0;   // x-retry-count.
  int replay_count = 0;  // x-replay-count.
  std::string app;       // x-app, as text; empty if absent.
  std::string type;      // x-type.
  std::string traceparent;
  std::string reason;  // x-death-cause, else the reason of the newest x-death entry.
  std::string error;   // x-error.
};

// Consumes queues over one connection. Owner thread only.
class Consumer {
 public:
  virtual ~Consumer() = default;

  struct Window {
    int prefetch = 1;  // Messages that a channel holds of each queue.
    int channels = 1;  // To the broker each is a consumer of its own.
  };

  // Begins to consume on fresh channels. What earlier channels held unsettled
  // goes back to its queue. Fails with UNAVAILABLE if the broker is away or a
  // queue does not exist (yet).
  virtual absl::Status Open(const std::vector<std::string>& queues, const Window& window) = 0;

  // Waits up to `wait` for a first message, then takes what is there already on
  // any channel, up to `max`. Empty if none came. UNAVAILABLE: the channels are
  // gone and with them every tag; Open again.
  virtual absl::StatusOr<std::vector<InboundMessage>> Receive(int max, absl::Duration wait) = 0;

  // Settles these messages and no others. A message that was not received on
  // the channels of now, or is settled already, costs the channels.
  virtual absl::Status Ack(absl::Span<const InboundMessage> messages) = 0;

  // Tells the broker to send no more; what has been received may still be
  // settled. Receive then only drains what was under way.
  virtual absl::Status Cancel() = 0;

  // Answers heartbeats while the owner works or waits; keeps messages that
  // arrive for the next Receive.
  virtual absl::Status Service() = 0;

  // Gives everything unsettled back and disconnects. Idempotent.
  virtual void Close() = 0;
};

struct QueueStats {
  bool declared = false;
  int64_t messages = 0;  // Ready.
  int64_t consumers = 0;
};

// Declares the topology and looks at queues. Owner thread only.
class TopologyAdmin {
 public:
  virtual ~TopologyAdmin() = default;

  // Declares everything that is missing. Idempotent. UNAVAILABLE if the broker
  // is away; FAILED_PRECONDITION naming every exchange and queue that exists
  // with other properties (the rest is declared all the same).
  virtual absl::Status Declare(const Topology& topology) = 0;

  virtual absl::StatusOr<QueueStats> Inspect(const std::string& queue) = 0;
};

}  // namespace carillon
