// Which notifications are gathered: told of together with others about the same object.
#pragma once

#include "carillon/domain/notification.h"

namespace carillon {

// Whether it is its actor's reaction to an object, in the words of its type. One with
// channels of its own is not: a group has those of its type.
bool IsGathered(const NotificationType& type, const Notification& item);

}  // namespace carillon
