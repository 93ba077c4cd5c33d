// The events of a live stream that are not changes of the feed, and those of a
// backlog. Free functions; thread-safe.
#pragma once

#include <vector>

#include "carillon/ports/feed_store.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/wire/feed_event.h"

namespace carillon {

// What a backlog says up to complete_up_to, by seq. A marker above that is left
// for the read that reaches it.
std::vector<FeedEvent> EncodeBacklog(const Backlog& backlog);

FeedEvent EncodeHeartbeat(int64_t seq);
FeedEvent EncodeResumeRequired(int64_t seq, v1::ResumeRequired::Cause cause);

}  // namespace carillon
