#include "workers/lane/batch.h"

#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

using Decoded = absl::StatusOr<EnvelopeContents>;

template <typename T>
void Move(std::vector<T>& from, size_t place, std::vector<T>& to, std::vector<size_t>& sources) {
  for (T& thing : from) {
    to.push_back(std::move(thing));
    sources.push_back(place);
  }
}

void Append(InboundMessage message, Decoded decoded, Batch* batch) {
  const size_t place = batch->messages.size();
  batch->messages.push_back(std::move(message));
  if (!decoded.ok()) {
    batch->unreadable.emplace_back(place, decoded.status());
    return;
  }
  Move(decoded->items, place, batch->items, batch->sources);
  Move(decoded->reactions, place, batch->reactions, batch->reaction_sources);
  Move(decoded->pages, place, batch->pages, batch->page_sources);
  Move(decoded->deliveries, place, batch->again, batch->again_sources);
  Move(decoded->digests, place, batch->digests, batch->digest_sources);
  Move(decoded->windows, place, batch->windows, batch->window_sources);
}

size_t SizeOf(const Batch& batch) {
  return batch.items.size() + batch.reactions.size() + batch.again.size() + batch.digests.size() + batch.windows.size();
}

size_t SizeOf(const EnvelopeContents& contents) {
  return contents.items.size() + contents.reactions.size() + contents.deliveries.size() + contents.digests.size() +
         contents.windows.size();
}

bool HasRoom(const Batch& batch, const Decoded& decoded) {
  if (batch.messages.back().redelivered || !batch.pages.empty()) return false;
  if (!decoded.ok()) return true;
  return decoded->pages.empty() && SizeOf(batch) + SizeOf(*decoded) <= kMaxBatchItems;
}

}  // namespace

std::vector<Batch> CutIntoBatches(std::vector<InboundMessage> messages) {
  std::vector<Batch> batches;
  for (InboundMessage& message : messages) {
    Decoded decoded = DecodeContents(message.body);
    if (batches.empty() || message.redelivered || !HasRoom(batches.back(), decoded)) batches.emplace_back();
    Append(std::move(message), std::move(decoded), &batches.back());
  }
  return batches;
}

}  // namespace carillon
