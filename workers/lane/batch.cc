#include "workers/lane/batch.h"

#include "absl/status/statusor.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

using Decoded = absl::StatusOr<std::vector<Notification>>;

void Append(InboundMessage message, Decoded decoded, Batch* batch) {
  const size_t place = batch->messages.size();
  batch->messages.push_back(std::move(message));
  if (!decoded.ok()) {
    batch->unreadable.emplace_back(place, decoded.status());
    return;
  }
  for (Notification& item : *decoded) {
    batch->items.push_back(std::move(item));
    batch->sources.push_back(place);
  }
}

bool HasRoom(const Batch& batch, size_t items) {
  return batch.items.size() + items <= kMaxBatchItems && !batch.messages.back().redelivered;
}

}  // namespace

std::vector<Batch> CutIntoBatches(std::vector<InboundMessage> messages) {
  std::vector<Batch> batches;
  for (InboundMessage& message : messages) {
    Decoded decoded = DecodeEnvelope(message.body);
    const size_t items = decoded.ok() ? decoded->size() : 0;
    if (batches.empty() || message.redelivered || !HasRoom(batches.back(), items)) batches.emplace_back();
    Append(std::move(message), std::move(decoded), &batches.back());
  }
  return batches;
}

}  // namespace carillon
