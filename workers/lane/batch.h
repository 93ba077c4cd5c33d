// Cuts what a consumer received into what it handles in one go.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/broker.h"

namespace carillon {

// Feed heads that one transaction may hold: a payment to one of these recipients waits for no more.
inline constexpr size_t kMaxBatchItems = 200;

// Whole messages, settled together.
struct Batch {
  // Where the item at the same place in `items` came from.
  const InboundMessage& SourceOf(size_t item) const { return messages[sources[item]]; }

  std::vector<InboundMessage> messages;
  std::vector<Notification> items;
  std::vector<size_t> sources;
  std::vector<std::pair<size_t, absl::Status>> unreadable;  // Messages, by place, with what is wrong.
};

// In the order of `messages`, each batch with at most kMaxBatchItems items; only
// a message that holds more by itself exceeds that. A message that came a second
// time is a batch of its own.
std::vector<Batch> CutIntoBatches(std::vector<InboundMessage> messages);

}  // namespace carillon
