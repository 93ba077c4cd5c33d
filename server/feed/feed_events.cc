#include "server/feed/feed_events.h"

namespace carillon {
namespace {

FeedEvent Encode(const v1::SubscribeResponse& response) {
  return {.seq = response.seq(), .message = std::make_shared<const std::string>(response.SerializeAsString())};
}

}  // namespace

std::vector<FeedEvent> EncodeBacklog(const Backlog& backlog) {
  std::vector<FeedEvent> events;
  events.reserve(backlog.items.size() + backlog.removals.size() + 1);
  for (const FeedItem& item : backlog.items) {
    if (item.seq <= backlog.complete_up_to) events.push_back(EncodeFeedEvent(item));
  }
  for (const FeedRemoval& removal : backlog.removals) {
    if (removal.seq <= backlog.complete_up_to) events.push_back(EncodeFeedEvent(removal));
  }
  if (backlog.marker.has_value() && backlog.marker->seq <= backlog.complete_up_to) {
    events.push_back(EncodeFeedEvent(*backlog.marker));
  }
  std::sort(events.begin(), events.end(), [](const FeedEvent& a, const FeedEvent& b) { return a.seq < b.seq; });
  return events;
}

FeedEvent EncodeHeartbeat(int64_t seq) {
  v1::SubscribeResponse response;
  response.set_seq(seq);
  response.mutable_heartbeat();
  return Encode(response);
}

FeedEvent EncodeResumeRequired(int64_t seq, v1::ResumeRequired::Cause cause) {
  v1::SubscribeResponse response;
  response.set_seq(seq);
  response.mutable_resume_required()->set_cause(cause);
  return Encode(response);
}

}  // namespace carillon
