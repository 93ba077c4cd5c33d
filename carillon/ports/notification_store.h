// Where notifications are kept. Thread-safe: each call takes a connection of
// its own for as long as it runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"

namespace carillon {

// A notification at the door, with what its outbox row needs.
struct NewNotification {
  Notification notification;
  std::string exchange;
  std::string routing_key;
  std::string idempotency_key;  // Empty: none.
  std::string payload_hash;     // 32 bytes; empty if there is no key.
  std::string envelope;         // The broker message's body.
  // Its send time by our clock: it waits until then. Absent: it goes at once.
  std::optional<absl::Time> due_time;
  // It is its actor's reaction: whoever writes it gives it a version, and makes the envelope.
  bool takes_version = false;
};

// What became of it.
struct AcceptOutcome {
  // OK, IDEMPOTENCY_KEY_REUSED, or UNAVAILABLE where only this one could not be settled.
  absl::Status status;
  // The key had been used for the same payload: id and create_time are those of
  // the first answer.
  bool duplicate = false;
  NotificationId id;
  absl::Time create_time;
};

class NotificationStore {
 public:
  virtual ~NotificationStore() = default;

  // Writes each notification, its outbox row (of one that is due later: the row that
  // waits) and its idempotency key in one transaction, in one round trip when no key
  // was used before. Outcomes in order. On an error nothing was written, except that
  // UNAVAILABLE may also mean that the outcome is not known; with idempotency keys a
  // repeat is safe. `all_or_nothing`: a reused key fails the whole call and writes nothing.
  virtual absl::StatusOr<std::vector<AcceptOutcome>> Accept(absl::Span<const NewNotification> items,
                                                            bool all_or_nothing) = 0;

  // NOT_FOUND for another app's. State kQueued is derived: accepted, and no row
  // of it in the outbox.
  virtual absl::StatusOr<NotificationRecord> Get(AppId app, const NotificationId& id) = 0;

  struct ListQuery {
    AppId app;
    std::string recipient;  // Empty: all.
    std::optional<State> state;
    std::optional<NotificationId> older_than;  // The last id of the page before.
    int limit = 50;
  };
  // Newest first.
  virtual absl::StatusOr<std::vector<NotificationRecord>> List(const ListQuery& query) = 0;

  // Stops what has not left: one that is scheduled or in the outbox becomes kCancelled; of
  // one whose deliveries are held, those end as suppressed, and it by its best channel,
  // or as kCancelled if it has no other. OK as well if that was done before. NOT_FOUND for
  // another app's, FAILED_PRECONDITION if nothing of it can be stopped.
  virtual absl::Status Cancel(AppId app, const NotificationId& id) = 0;

  struct FailedAttempt {
    NotificationId id;
    int retention_days = 7;
    HistoryEntry entry;
  };
  // Adds to the history of notifications that have not ended.
  virtual absl::Status RecordAttempts(absl::Span<const FailedAttempt> attempts) = 0;
};

}  // namespace carillon
