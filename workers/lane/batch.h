// Cuts what a consumer received into what it handles in one go.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "carillon/domain/delivery.h"
#include "carillon/domain/event.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/broker.h"

namespace carillon {

// Feed heads that one transaction may hold: a payment to one of these recipients waits for no more.
inline constexpr size_t kMaxBatchItems = 200;

// Whole messages, settled together. A source tells which message the thing at the
// same place came in.
struct Batch {
  const InboundMessage& SourceOf(size_t item) const { return messages[sources[item]]; }

  std::vector<InboundMessage> messages;
  std::vector<Notification> items;
  std::vector<size_t> sources;
  std::vector<Reaction> reactions;
  std::vector<size_t> reaction_sources;
  std::vector<FanoutPage> pages;  // One at most.
  std::vector<size_t> page_sources;
  std::vector<Delivery> again;  // To be decided on once more.
  std::vector<size_t> again_sources;
  std::vector<DueDigest> digests;
  std::vector<size_t> digest_sources;
  std::vector<DueWindow> windows;
  std::vector<size_t> window_sources;
  std::vector<std::pair<size_t, absl::Status>> unreadable;  // Messages, by place, with what is wrong.
};

// In the order of `messages`, each batch with at most kMaxBatchItems things; only a message that holds more by itself
// exceeds that. A page, and a message that came a second time, is a batch of its own.
std::vector<Batch> CutIntoBatches(std::vector<InboundMessage> messages);

// One item that failed, with the message it came in.
struct FailedItem {
  const InboundMessage* message = nullptr;
  // Null: the message goes as it is.
  const Notification* item = nullptr;
  absl::Status status;
};

// What a lane's worker does with what it receives. Thread-safe.
class BatchHandler {
 public:
  virtual ~BatchHandler() = default;
  // Takes effect in as few transactions as may be. The failures: INVALID_ARGUMENT
  // for what can never succeed, anything else for what may succeed later. An
  // infrastructure failure (see IsInfrastructureFailure) is returned for the
  // whole: nothing was done, or what was done is safe to repeat.
  virtual absl::StatusOr<std::vector<FailedItem>> Handle(const Batch& batch) = 0;
  // OK if what Handle needs can be reached.
  virtual absl::Status CheckHealth() = 0;
};

}  // namespace carillon
