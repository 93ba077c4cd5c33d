// Packs outbox rows into broker messages. Free functions.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/outbox_store.h"

namespace carillon {

// Messages, and beside each the rows that it carries.
struct Packs {
  std::vector<OutboundMessage> messages;
  std::vector<std::vector<const OutboxRow*>> rows;
};

// Rows of one app, type, exchange and routing key share a message: at most
// `max_rows`, and as many as stay within limits::kMaxPackBytes. A message bears the
// id and the trace of its first row. In the order of the rows; they outlive the packs.
Packs PackRows(absl::Span<const OutboxRow> rows, int max_rows);

}  // namespace carillon
