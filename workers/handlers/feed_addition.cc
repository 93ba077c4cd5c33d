#include "workers/handlers/feed_addition.h"

#include <vector>

#include "carillon/channels/in_app_template.h"
#include "carillon/wire/feed_event.h"

namespace carillon {

FeedAddition AdditionOf(const Notification& item, const NotificationType& type) {
  return {.key = {item.app, item.recipient},
          .retention_days = item.retention_days,
          .item = RenderFeedItem(item, type.in_app)};
}

void Announce(LivePublisher& live, absl::Span<const FeedAddition> additions) {
  std::vector<FeedKey> keys;
  std::vector<const FeedItem*> items;
  for (const FeedAddition& addition : additions) {
    if (addition.item.seq == 0) continue;
    keys.push_back(addition.key);
    items.push_back(&addition.item);
  }
  if (keys.empty()) return;
  (void)live.Publish(keys, [&](size_t i) { return EncodeLiveUpdate({*items[i]}); });
}

}  // namespace carillon
