// What the relay's housekeeping writes. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/notification_store.h"
#include "carillon/ports/outbox_store.h"

namespace carillon {

class UpkeepStore {
 public:
  virtual ~UpkeepStore() = default;

  // Makes the partitions of the coming days. Returns how many it made.
  virtual absl::StatusOr<int> EnsureSlices(absl::Time from, absl::Time until) = 0;
  // Takes one step at dropping a partition past its retention: corrects unread
  // and floor_seq of up to `recipients` feeds, or drops it when nothing is left.
  // False if there was nothing to do.
  virtual absl::StatusOr<bool> RetireStep(absl::Time now, int recipients) = 0;
  // Deletes up to `limit` idempotency keys past their time, as many removals that no
  // item's retention reaches, and as many notifications that were cancelled a week ago,
  // before their send time. Returns how many in all.
  virtual absl::StatusOr<int> ExpireKeys(absl::Time now, int limit) = 0;
  // Deletes up to `limit` digests that were closed before this. Returns how many.
  virtual absl::StatusOr<int> ForgetDigests(absl::Time closed_before, int limit) = 0;

  // Reads on, up to `limit` notifications per retention class that were accepted
  // before a moment, and remembers those that have not ended. Returns how many it
  // read. Each pass has a position of its own and reads every notification once.
  enum class Pass { kEarly, kLate };
  virtual absl::StatusOr<int> SweepStep(Pass pass, absl::Time accepted_before, int limit) = 0;
  // Remembered ones of a lane that are due, have not ended, are not in the outbox
  // and were not touched since `idle_since`. Forgets those that have ended and
  // looks at the others again after `again`.
  virtual absl::StatusOr<std::vector<Notification>> DueStragglers(Lane lane, absl::Time idle_since,
                                                                  absl::Duration again, int limit) = 0;
  // Writes outbox rows, with the same ids, for those that still have not ended and
  // have none, and notes it in their history. Returns how many it wrote.
  virtual absl::StatusOr<int> Reenqueue(absl::Span<const NewNotification> idle) = 0;

  virtual absl::StatusOr<std::vector<OutboxStats>> Outbox() = 0;
};

}  // namespace carillon
