// Digests that are due, what has gathered in them, and what they become. Thread-safe.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/notification_store.h"

namespace carillon {

// What waits in a digest.
struct DigestContents {
  std::vector<Delivery> members;  // Newest first.
  bool more = false;              // Older ones than these wait in it too.
};

// What becomes of a digest and of members of it.
struct DigestClosing {
  struct Member {
    const Delivery* delivery = nullptr;
    DeliveryFate fate;  // Terminal; kSent: it is told with the digest.
  };
  Uuid digest_id;
  std::vector<Member> members;
  // What is sent; absent: nothing is left to tell.
  std::optional<NewNotification> notification;
  // There are other members, which stay in it: it is not closed, and due again at once.
  bool more = false;
};

enum class DigestResult {
  kDone,
  kChanged,  // A member has come or gone since it was read. Nothing was changed.
  kGone,     // Somebody else has done it. Nothing was changed.
};

class DigestStore {
 public:
  virtual ~DigestStore() = default;

  // At most `limit` of those that wait in an open digest; none of one that is not open.
  virtual absl::StatusOr<DigestContents> Read(const DueDigest& digest, int limit) = 0;

  // In one transaction: members end, with their notifications; the digest is closed,
  // with what it waited by; its notification is accepted. A repeat finds it kGone.
  virtual absl::StatusOr<DigestResult> Close(const DigestClosing& closing) = 0;
};

}  // namespace carillon
