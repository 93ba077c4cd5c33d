// What a digest says. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "carillon/domain/notification.h"

namespace carillon {

// As many as one message shows.
inline constexpr size_t kMaxDigestItems = 50;

// What is told, with its type.
struct DigestItem {
  const Notification* notification = nullptr;
  const NotificationType* type = nullptr;
};

// The data of a digest's notification, at most limits::kMaxDataBytes of JSON: title, count,
// items (in the order given; as many as have room), more and more_any: how many are not
// among them, and whether any. An item has title, body and link as its type's in_app
// texts render, and type, time, and, if there are any, actor_id, actor_name, object_id.
std::string DigestData(absl::Span<const DigestItem> items);

}  // namespace carillon
