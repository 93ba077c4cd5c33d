// Reactions, their counters, and the items that tell of them. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/event.h"
#include "carillon/domain/notification.h"

namespace carillon {

struct ReactionCounter {
  std::string object_id;
  std::string kind;
  int64_t count = 0;
};

// A row of the outbox with a group of reactions of one app and type.
struct ReactionRow {
  Uuid message_id;  // Also the group's.
  AppId app;
  std::string type;
  std::string envelope;
};

// An item as it is to be shown.
struct ReactionItem {
  FeedItem item;  // Its id and create_time are used if the item is new.
  int retention_days = 7;
};

// What an application of reactions changed in a feed; those of a feed by seq.
struct ReactionChange {
  FeedKey key;
  // The changed item with its new number, or only id and seq if it was removed.
  FeedItem item;
  bool removed = false;
};

// What housekeeping did about groups of reactions that nobody applies.
struct RequeuedReactions {
  int queued = 0;
  std::vector<Uuid> given_up;  // Queued in vain often enough.
};

class ReactionStore {
 public:
  // How often a group is queued again before it is given up.
  static constexpr int kMaxRequeues = 5;
  // Versions that are given out at once.
  static constexpr int kVersionBlock = 1024;

  virtual ~ReactionStore() = default;

  // --- The door.
  // The first of kVersionBlock version numbers that are above all given out before.
  virtual absl::StatusOr<int64_t> TakeVersions() = 0;
  // Writes them to the outbox, and as groups that stay until they are applied; all
  // or none. UNAVAILABLE may also mean that the
  // outcome is not known; the same reactions once more do no harm.
  virtual absl::Status Enqueue(absl::Span<const ReactionRow> rows) = 0;

  // --- The worker.
  // Applies all in one transaction: of each actor, object and kind the highest
  // version counts; counters move by the difference; a standing item (one per
  // recipient, type and object) counts the reactions that are active and name its
  // recipient and type. Ends the groups of these reactions: each must be whole.
  // Repeating it changes nothing. `render` is called for each
  // item that changes, with the newest of the reactions it counts, before any feed
  // is locked; maybe more than once.
  using Render = absl::FunctionRef<ReactionItem(const Reaction&)>;
  virtual absl::StatusOr<std::vector<ReactionChange>> Apply(absl::Span<const Reaction> reactions, Render render) = 0;

  // By object in the order asked, then by kind; none for what nobody reacts to.
  virtual absl::StatusOr<std::vector<ReactionCounter>> Counters(AppId app,
                                                                absl::Span<const std::string> object_ids) = 0;

  // --- Housekeeping.
  // Writes outbox rows for groups that have none and that nothing has touched since
  // `idle_since`. Those that were queued kMaxRequeues times are given up instead:
  // named once, and kept.
  virtual absl::StatusOr<RequeuedReactions> RequeueIdle(absl::Time idle_since, int limit) = 0;
};

}  // namespace carillon
