// Feeds: items, counters, read markers. Thread-safe.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/decider.h"
#include "carillon/domain/delivery.h"

namespace carillon {

// A digest that begins, unless the recipient has one open on the channel.
struct NewDigest {
  Uuid id;
  absl::Time due_time;   // By our clock.
  std::string envelope;  // What is published then.
};

// What becomes of a delivery that is decided on.
struct DeliveryFate {
  DeliveryState state = DeliveryState::kPending;  // Or kHeld, kSuppressed, kExpired.
  std::string detail;                             // Why, unless it is pending.
  // Of a held one: either a digest that it goes into, or a time, by our clock, at
  // which it is decided on again by whoever gets `again`.
  std::optional<absl::Time> hold_until;
  std::string again;
  std::optional<NewDigest> digest;
  std::optional<TrailEntry> trail;  // Absent: it met no rule.
};

// What begins on an external channel with the decision about a notification.
struct NewDelivery {
  Uuid id;
  Channel channel = Channel::kEmail;
  std::string device_id;  // Of push channels.
  DeliveryFate fate;
  std::string envelope;  // Of one that may still be sent: its message.
};

// What was decided about one notification.
struct FeedDelivery {
  FeedKey key;
  int retention_days = 7;
  Lane lane = Lane::kSocial;
  // kDelivered writes the item; kExpired and kSuppressed write none; kAccepted: none
  // is wanted, and its deliveries decide how it ends. While one of them is pending or
  // held the notification has not ended.
  State state = State::kDelivered;
  std::string detail;
  FeedItem item;  // item.id is the notification's; seq is given out by the store.
  std::string traceparent;
  std::vector<NewDelivery> deliveries;
  // Of the type: where what is held is decided on again.
  std::string exchange;
  std::string routing_key;
  std::optional<TrailEntry> trail;  // Of the feed. Absent: it met no rule.
};

struct DeliveryOutcome {
  // False: it had ended before, or is not in the store. Nothing was changed.
  bool applied = false;
  // The item's number; 0 if none was written.
  int64_t seq = 0;
};

// Where a stream stands.
struct BacklogRequest {
  FeedKey key;
  int64_t after_seq = 0;
};

struct Backlog {
  FeedHead head;
  // Items with after_seq < seq, by seq, at most limits::kBacklogPage.
  std::vector<FeedItem> items;
  // Items that left the feed after after_seq, by seq, at most limits::kBacklogPage.
  std::vector<FeedRemoval> removals;
  // Present if a marker was set after after_seq.
  std::optional<ReadMarker> marker;
  // Every change up to here is in items, removals and marker, or gone for good.
  int64_t complete_up_to = 0;
};

struct MarkReadResult {
  FeedHead head;
  // Absent if nothing changed.
  std::optional<ReadMarker> marker;
};

// An item for a feed, which is put there together with what made it.
struct FeedAddition {
  FeedKey key;
  int retention_days = 7;
  // The store sets its number; 0: the feed had it, by its id, or nothing was to be put there.
  FeedItem item;
};

class FeedStore {
 public:
  virtual ~FeedStore() = default;

  // Carries out the decision about each notification that has none yet: in one
  // transaction it ends, or begins its deliveries with their outbox rows, and
  // items get the next numbers of their feeds. Exactly once per
  // notification, whatever is repeated. Outcomes in order; a notification that
  // is named twice is applied once.
  virtual absl::StatusOr<std::vector<DeliveryOutcome>> Deliver(absl::Span<const FeedDelivery> deliveries) = 0;

  // Reads many streams' backlogs together, after what is still coming to these
  // feeds was appended: the items and counters of all in one
  // round trip and from one snapshot, the items that markers name in another. In order.
  virtual absl::StatusOr<std::vector<Backlog>> ReadBacklogs(absl::Span<const BacklogRequest> requests) = 0;

  // The head of a feed that holds everything that was stored for it up to now.
  virtual absl::StatusOr<FeedHead> Summarize(const FeedKey& key) = 0;

  // The heads of many feeds, as they are, in one round trip. In order.
  virtual absl::StatusOr<std::vector<FeedHead>> ReadHeads(absl::Span<const FeedKey> keys) = 0;

  struct ListQuery {
    FeedKey key;
    bool unread_only = false;
    std::optional<int64_t> before_seq;
    int limit = 50;
  };
  // Newest first.
  virtual absl::StatusOr<std::vector<FeedItem>> List(const ListQuery& query) = 0;

  // Marks everything up to a number as read, at most up to last_seq.
  virtual absl::StatusOr<MarkReadResult> MarkReadUpTo(const FeedKey& key, int64_t up_to_seq) = 0;
  virtual absl::StatusOr<MarkReadResult> MarkReadItems(const FeedKey& key, absl::Span<const NotificationId> ids) = 0;
};

}  // namespace carillon
