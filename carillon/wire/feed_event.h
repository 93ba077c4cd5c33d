// Feed changes as they travel: to clients (carillon.v1.SubscribeResponse) and
// between processes (carillon.internal.v1.LiveUpdate). Free functions; thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/v1/feed_service.pb.h"

namespace carillon {

// One change of a feed, serialised once and shared by all who send it on.
struct FeedEvent {
  int64_t seq = 0;
  // A carillon.v1.SubscribeResponse. Never null.
  std::shared_ptr<const std::string> message;
};

void ToProto(const FeedItem& item, v1::FeedItem* out);

FeedEvent EncodeFeedEvent(const FeedItem& item);
FeedEvent EncodeFeedEvent(const ReadMarker& marker);
FeedEvent EncodeFeedEvent(const FeedRemoval& removal);

// The payload of a LiveMessage: the changes of one feed, by seq. Beyond
// kMaxLiveUpdateBytes it holds the first events only; last_seq is always the
// last one's, and the receiver reads the rest from the store.
inline constexpr size_t kMaxLiveUpdateBytes = 256 * 1024;
std::string EncodeLiveUpdate(absl::Span<const FeedItem> items);
std::string EncodeLiveUpdate(absl::Span<const FeedEvent> events);
std::string EncodeLiveUpdate(const ReadMarker& marker);

struct LiveUpdate {
  std::vector<FeedEvent> events;
  int64_t last_seq = 0;
};
absl::StatusOr<LiveUpdate> DecodeLiveUpdate(absl::string_view payload);

}  // namespace carillon
