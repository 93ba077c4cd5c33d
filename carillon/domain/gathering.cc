#include "carillon/domain/gathering.h"

#include <algorithm>

namespace carillon {

bool IsGathered(const NotificationType& type, const Notification& item) {
  if (!type.policy.aggregation.has_value() || type.critical) return false;
  if (item.actor_id.empty() || item.object_id.empty()) return false;
  return item.channels.empty() ||
         std::is_permutation(item.channels.begin(), item.channels.end(), type.channels.begin(), type.channels.end());
}

}  // namespace carillon
