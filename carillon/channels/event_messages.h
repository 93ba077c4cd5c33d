// What an event is to one of its audience. Pure.
#pragma once

#include <string>

#include "carillon/domain/event.h"
#include "carillon/ports/event_store.h"

namespace carillon {

// What the feed shows is rendered from this; its id is the event's.
Notification AsNotification(const Event& event, const std::string& recipient);
// What one of the audience is sent outside the feed.
Notification AsDelivered(const Event& event, const NotificationType& type, const WrittenItem& item);

// What must not be told again within the type's window; empty: it has none.
std::string DedupeKeyOf(const Event& event, const NotificationType& type);
// Why an event is suppressed that came within it.
std::string WithinWindow(const std::string& key, const NotificationType& type);

}  // namespace carillon
