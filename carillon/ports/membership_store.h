// Who belongs to which group: followers and topic subscribers. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/event.h"

namespace carillon {

struct Membership {
  std::string group_id;
  std::string member_id;
};

class MembershipStore {
 public:
  virtual ~MembershipStore() = default;

  // Adds what is missing, in one transaction, and makes a feed for members who
  // have none. Returns how many it added. A new member gets no event from before.
  virtual absl::StatusOr<int> Add(AppId app, GroupKind kind, absl::Span<const Membership> memberships) = 0;

  // Removes what is there, in one transaction; what the members have coming from
  // before enters their feeds first. Returns how many it removed.
  virtual absl::StatusOr<int> Remove(AppId app, GroupKind kind, absl::Span<const Membership> memberships) = 0;

  // Members above `after`, in the order of their bytes.
  virtual absl::StatusOr<std::vector<std::string>> List(const Group& group, const std::string& after, int limit) = 0;
};

}  // namespace carillon
