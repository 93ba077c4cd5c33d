// Events and how far their audiences were told. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/event.h"
#include "carillon/ports/feed_store.h"

namespace carillon {

// An event at the door.
struct NewEvent {
  Event event;
  std::string idempotency_key;  // Empty: none.
  std::string payload_hash;     // 32 bytes; empty if there is no key.
};

// What the door answers.
struct EventOutcome {
  bool duplicate = false;
  Uuid id;
  absl::Time create_time;
};

// A range of an audience, ready to be paged.
struct EventRange {
  int shard = 0;
  std::string after;                   // Members above this,
  std::optional<std::string> last_id;  // up to this one; nullopt: to the end.
};

// What a worker needs to write a page.
struct OpenPage {
  EventRecord record;  // With audience.users empty.
  int64_t shared_audience_threshold = 0;
  // Absent if the shard is done or its cursor has moved on: there is nothing to do.
  std::optional<EventRange> range;
};

// A page's items: the same texts for all, with `placeholder` (empty: none) where
// each recipient's own id belongs.
struct PageItems {
  FeedItem item;  // Without id and seq.
  std::string placeholder;
  std::vector<std::string> recipients;  // In the order of their bytes.
  std::vector<NotificationId> ids;      // As many, for any of them.
};

// An item that a page wrote.
struct WrittenItem {
  NotificationId id;
  std::string recipient;
  int64_t seq = 0;
};

class EventStore {
 public:
  virtual ~EventStore() = default;

  // --- The door.
  // Writes the event, its first shard and its outbox row in one transaction.
  virtual absl::StatusOr<EventOutcome> Accept(const NewEvent& event) = 0;
  // NOT_FOUND for another app's.
  virtual absl::StatusOr<EventRecord> Get(AppId app, const Uuid& id) = 0;
  // NOT_FOUND, or FAILED_PRECONDITION if it has ended otherwise.
  virtual absl::StatusOr<EventRecord> Pause(AppId app, const Uuid& id) = 0;
  virtual absl::StatusOr<EventRecord> Resume(AppId app, const Uuid& id) = 0;
  virtual absl::StatusOr<EventRecord> Cancel(AppId app, const Uuid& id) = 0;

  // --- Without an event that is stored: what would be.
  // Whether another event holds the type's dedupe window.
  virtual absl::StatusOr<bool> IsWindowHeld(const Event& event, const std::string& key) = 0;
  // Every so manyth member above `after`, at most `limit` of them, in the order of ids. Not
  // of a list of users.
  virtual absl::StatusOr<std::vector<std::string>> Sample(const Event& event, const std::string& after, int64_t every,
                                                          int limit) = 0;

  // --- The fan-out.
  // NOT_FOUND if the event is gone.
  virtual absl::StatusOr<OpenPage> Open(const FanoutPage& page) = 0;

  // Counts the audience and cuts it: the members after which a range of about
  // `step` members ends, the last one left open. Stops counting above `limit`.
  struct Measure {
    int64_t size = 0;
    std::vector<std::string> cuts;
  };
  virtual absl::StatusOr<Measure> MeasureAudience(const Event& event, int64_t step, int64_t limit) = 0;

  // Takes the type's dedupe window for this event. False: another one holds it.
  virtual absl::StatusOr<bool> TakeWindow(const Event& event, const std::string& key, absl::Duration window) = 0;
  // Ends an accepted event that its window suppresses. No effect on others.
  virtual absl::Status Suppress(const Uuid& id, const std::string& detail) = 0;

  // From accepted to expanding: its ranges, and the outbox rows of all but the
  // first. No effect on an event that is not accepted.
  virtual absl::Status BeginExpanding(const Event& event, int64_t audience_size,
                                      absl::Span<const EventRange> ranges) = 0;
  // From accepted to done: stored once, for all whom it concerns at this moment.
  // No effect on an event that is not accepted.
  virtual absl::Status StoreShared(const Event& event, int64_t audience_size, const PageItems& item) = 0;
  // Puts the event into its topic's public feed, once. The number it got there; 0
  // if it was there.
  virtual absl::StatusOr<int64_t> AddToTopicFeed(const Event& event, const FeedItem& item) = 0;

  // Members of the range, at most `limit`.
  virtual absl::StatusOr<std::vector<std::string>> Members(const Event& event, const EventRange& range, int limit) = 0;

  // Writes the page's items and counters, moves the shard's cursor from
  // page.cursor to new_cursor, and writes the outbox row of the next page (is_last:
  // the shard is done instead), all in one transaction. Returns the items. Empty also if the cursor
  // was elsewhere or the event is not expanding: nothing was done.
  struct PageWrite {
    FanoutPage page;
    std::string new_cursor;
    int64_t read = 0;  // Members handled, told or not.
    bool is_last = false;
    // Recipients whose feed does not show it, with ids, and that may have deliveries.
    std::vector<WrittenItem> unshown;
    // Recipients that rules keep it away from, by the reason in words.
    std::map<std::string, int64_t> suppressed;
    // Of the type: where what is held is decided on again.
    std::string exchange;
    std::string routing_key;
    // Called, if there is one, with what was written and then with what is unshown,
    // before the commit, maybe more than once: the deliveries that it returns, a list
    // per item, are written too.
    std::function<std::vector<std::vector<NewDelivery>>(absl::Span<const WrittenItem>)> begin_deliveries;
  };
  virtual absl::StatusOr<std::vector<WrittenItem>> WritePage(const Event& event, const PageWrite& write,
                                                             const PageItems& items) = 0;
  // Ends the event if all its shards are done.
  virtual absl::Status FinishIfDone(const Uuid& id) = 0;

  // --- Housekeeping.
  // Writes outbox rows for the shards of a lane's unfinished, unpaused events that
  // nothing has touched since `idle_since`. Returns how many. Ends those events that
  // were told to the end before that and that nobody ended.
  virtual absl::StatusOr<int> RequeueIdle(Lane lane, absl::Time idle_since, int limit) = 0;
  // Forgets ended events past their retention and expired dedupe windows, in
  // small steps. Returns how many rows it took.
  virtual absl::StatusOr<int> Expire(absl::Time now, int limit) = 0;
};

}  // namespace carillon
