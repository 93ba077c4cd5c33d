#include "workers/relay/packer.h"

#include <tuple>

#include "carillon/domain/limits.h"
#include "carillon/domain/topology.h"

namespace carillon {
namespace {

using PackKey = std::tuple<int64_t, absl::string_view, absl::string_view, absl::string_view, bool>;

PackKey KeyOf(const OutboxRow& row) {
  return {row.app.value(), row.type, row.exchange, row.routing_key, row.replay_count > 0};
}

OutboundMessage BeginMessage(const OutboxRow& row) {
  OutboundMessage message;
  message.exchange = row.exchange;
  message.routing_key = row.routing_key;
  message.message_id = row.message_id.ToString();
  message.app = row.app;
  message.type = row.type;
  message.traceparent = row.traceparent;
  message.replay_count = row.replay_count;
  message.is_event = row.exchange == kEventsExchange;
  return message;
}

// A delivery takes as long as its provider does, an event is no envelope, and what was dead
// may be anything, and may die again.
bool MayShare(const OutboxRow& row) {
  return row.exchange != kDeliveryExchange && row.exchange != kEventsExchange && row.replay_count == 0;
}

}  // namespace

Packs PackRows(absl::Span<const OutboxRow> rows, int max_rows) {
  Packs packs;
  // The message of each kind that still has room.
  absl::flat_hash_map<PackKey, size_t> open;
  for (const OutboxRow& row : rows) {
    const auto [found, is_new] = open.try_emplace(KeyOf(row), packs.messages.size());
    const bool full =
        !is_new && (!MayShare(row) || packs.rows[found->second].size() >= static_cast<size_t>(max_rows) ||
                    packs.messages[found->second].body.size() + row.payload.size() > limits::kMaxPackBytes);
    if (full) found->second = packs.messages.size();
    if (is_new || full) {
      packs.messages.push_back(BeginMessage(row));
      packs.rows.emplace_back();
    }
    // The concatenation of two envelopes of one app and type is an envelope.
    packs.messages[found->second].body += row.payload;
    packs.rows[found->second].push_back(&row);
  }
  return packs;
}

}  // namespace carillon
