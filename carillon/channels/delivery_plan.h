// Which deliveries a notification begins with: one per external channel, of the push
// channels one per device; and what becomes of them by what was decided. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/feed_store.h"
#include "carillon/runtime/decision_maker.h"

namespace carillon {

// Whether any of these is an external channel.
bool GoesOutside(absl::Span<const Channel> channels);

// Whether a channel can reach somebody at all, and why it can't where it can't.
bool IsReachable(Channel channel, const Contacts& contacts);
absl::string_view WhyUnreachable(Channel channel);

// With ids of this moment, `now` by our clock. What can't be reached is suppressed, with
// the reason, whatever was decided.
std::vector<NewDelivery> PlanDeliveries(const Notification& item, const Contacts& contacts, const Decision& decision,
                                        absl::Time now);

// What a decision makes of a delivery.
DeliveryFate FateOf(const Delivery& delivery, const Decision& decision, const ChannelDecision& channel, absl::Time now);

// What is kept of a decision; nothing if it met no rule, or only the one that its type
// says of itself.
std::optional<TrailEntry> TrailOf(const Decision& decision, const ChannelDecision& channel);

// Why it was stopped, in words, with times in the recipient's zone.
std::string ReasonOf(const Decision& decision, const ChannelDecision& channel);

// The same in words that are the same for many: without times.
std::string SharedReasonOf(const Decision& decision, ChannelDecision channel);

// Whether the feed gets it: as one of its channels, or instead of one.
bool IsShown(const Decision& decision);

}  // namespace carillon
