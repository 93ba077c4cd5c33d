// Windows in which reactions are gathered: parts of what moves the items that tell of them.
// For use in a session's body; they throw as libpqxx does.
#pragma once

#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/reaction_items.h"

namespace carillon {

// An item that a transaction has locked and counted anew.
struct CountedItem {
  const ReactionItemKey* key = nullptr;
  const ReactionItemMove* move = nullptr;
  int64_t count = 0;
  int64_t joined = 0;  // Those among them that it did not count before.
  bool changed = true;
  std::optional<NotificationId> id;  // Of its row in feed_items, if there ever was one.
  int retention_days = 0;
  std::optional<Uuid> window;  // In which it counts.
};

// Keys of items, column by column.
struct ItemKeyColumns {
  void Add(const ReactionItemKey& key) {
    apps.Add(key.feed.app.value());
    recipients.Add(key.feed.recipient.value());
    types.Add(key.type);
    objects.Add(key.object_id);
  }

  PgArray apps, recipients, types, objects;
};

ReactionItemKey ItemKeyOf(const pqxx::row& row);

// Locks and counts the items of moves some of which may be of windows, in the order of their
// keys. Opens windows, or has them end later, with what waits for their ends.
std::vector<CountedItem> CountInWindows(PgSession& session, pqxx::work& transaction, const ReactionItemMoves& moves);

// Says of all that joined which window counts them.
void MarkMembers(PgSession& session, pqxx::work& transaction, absl::Span<const CountedItem> items);

// A group of reactions that an item counts.
struct ReactionGroup {
  const ReactionItemKey* key = nullptr;
  std::optional<Uuid> window;
  int64_t count = 0;
};

// The newest reaction of each group, with the group's data if it is of a window; of kind ''
// if there is none. In order.
std::vector<Reaction> ReadNewest(PgSession& session, pqxx::transaction_base& transaction,
                                 absl::Span<const ReactionGroup> groups);

}  // namespace carillon
