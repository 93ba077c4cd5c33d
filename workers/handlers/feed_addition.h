// What a rule leaves to the feed alone, although it was not meant for it.
#pragma once

#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/live_bus.h"

namespace carillon {

// The item as its type words it.
FeedAddition AdditionOf(const Notification& item, const NotificationType& type);

// Tells the streams of those that were put into a feed. A hint: what fails here the
// streams' sweep finds.
void Announce(LivePublisher& live, absl::Span<const FeedAddition> additions);

}  // namespace carillon
