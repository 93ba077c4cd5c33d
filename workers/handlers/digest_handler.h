// What a lane worker does with digests that are due: what has gathered in each becomes
// one notification, which is decided on and delivered as any other.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/digest_store.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// Thread-safe.
class DigestHandler {
 public:
  // Looked at, and told of, at once; what is beyond goes into another one right after it.
  static constexpr int kMaxMembers = 1000;

  struct Deps {
    std::shared_ptr<DigestStore> store;
    OutboxWaker& waker;
    Catalogue& catalogue;
    DecisionMaker& decisions;
    const Clock& clock;
    Metrics& metrics;
  };

  explicit DigestHandler(const Deps& deps);

  // Each in a transaction of its own. NOT_FOUND if a type is not in the catalogue; an
  // infrastructure failure is safe to repeat: what was done is not done again. Blocks
  // for at most a few seconds.
  absl::Status Handle(absl::Span<const DueDigest> digests);

 private:
  using Types = std::vector<std::shared_ptr<const NotificationType>>;

  absl::Status HandleOne(const DueDigest& digest);
  // Once; `last`: whoever comes meanwhile stays behind.
  absl::StatusOr<DigestResult> Try(const DueDigest& digest, bool last);
  absl::StatusOr<Types> TypesOf(absl::Span<const Delivery> members);
  // What becomes of each if it is told in this notification: what its recipient does not
  // want any more, or what is too old, leaves.
  absl::StatusOr<std::vector<DeliveryFate>> Decide(const DueDigest& digest, absl::Span<const Delivery> members,
                                                   const Types& types, const NotificationId& told_in);

  const Deps deps_;
  prometheus::Counter& sent_;
  prometheus::Counter& empty_;
  prometheus::Counter& members_;
};

}  // namespace carillon
