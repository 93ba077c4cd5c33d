// Reactions, their counters, and the items that tell of them. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/event.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/feed_store.h"

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

// A notification that is a reaction, and what was decided about it.
struct GatheredNotification {
  NotificationId id;
  int retention_days = 7;
  // kDelivered: it is applied, and counts from then on. Else it ends so, and is not.
  State state = State::kDelivered;
  std::string detail;               // Of the others.
  std::optional<TrailEntry> trail;  // Absent: it met no rule.
  Reaction reaction;
};

enum class Gathered {
  kNotOpen,    // It had ended before, or is not in the store. Nothing was changed.
  kDone,       // It has ended now.
  kElsewhere,  // Its actor's reaction is told to somebody else: it is not gathered. Nothing was changed.
};

struct GatherResult {
  std::vector<Gathered> outcomes;  // In order.
  std::vector<ReactionChange> changes;
};

// What a window has gathered that is to be told.
struct GatheredWindow {
  Reaction newest;      // With the group's data (see wire/group_data.h).
  bool stands = false;  // A feed shows it, as this item:
  NotificationId id;
  int retention_days = 7;
};

// A window that ends. What it points to must outlive the call.
struct WindowEnd {
  const DueWindow* window = nullptr;
  // Of what is sent, unless a feed shows an item: then it is the item's.
  NotificationId id;
  int retention_days = 7;
  Lane lane = Lane::kSocial;
  // Of its type, for what is held.
  absl::string_view exchange;
  absl::string_view routing_key;
  // Goes into the feed if this ends it, in the same transaction; null: nothing.
  FeedAddition* shown = nullptr;
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
  // is locked; maybe more than once. Reactions that have a window go into the one that is
  // open, or begin the next, with an item of its own; what `render` gets has the group's data then.
  using Render = absl::FunctionRef<ReactionItem(const Reaction&)>;
  virtual absl::StatusOr<std::vector<ReactionChange>> Apply(absl::Span<const Reaction> reactions, Render render) = 0;

  // Applies notifications as reactions, as Apply does, and ends them, in the same transaction:
  // each exactly once, whatever is repeated. What somebody else is told of the same is not taken
  // from them: see kElsewhere.
  virtual absl::StatusOr<GatherResult> Gather(absl::Span<const GatheredNotification> notifications, Render render) = 0;

  // What windows have gathered whose end has not been told of; absent: there is nothing to
  // tell (any more). In order.
  virtual absl::StatusOr<std::vector<std::optional<GatheredWindow>>> ReadWindows(
      absl::Span<const DueWindow> windows) = 0;
  // Ends windows in one transaction: whoever joins from then on begins the next. `begin` is
  // called for each that had not ended, with what it has gathered, while nobody can join; what
  // it returns begins. Maybe more than once. Returns how many ended. Safe to repeat.
  using BeginDeliveries = absl::FunctionRef<std::vector<NewDelivery>(size_t window, const GatheredWindow&)>;
  virtual absl::StatusOr<int> EndWindows(absl::Span<const WindowEnd> windows, BeginDeliveries begin) = 0;

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
