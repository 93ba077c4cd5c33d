#include "client/carillon/feed_cursor.h"

#include <algorithm>

namespace carillon {

void FeedCursor::Advance(const v1::SubscribeResponse& event) {
  if (event.has_resume_required()) {
    must_resume_ = true;
    return;
  }
  after_seq_ = std::max(after_seq_, static_cast<int64_t>(event.seq()));
}

void FeedCursor::ResumeFrom(int64_t seq) {
  after_seq_ = seq;
  must_resume_ = false;
}

}  // namespace carillon
