// Where a client stands in a feed: what it has handled, and where its next
// stream has to begin.
#pragma once

#include <cstdint>

#include "carillon/v1/feed_service.pb.h"

namespace carillon {

// A value; not thread-safe.
class FeedCursor {
 public:
  explicit FeedCursor(int64_t after_seq) : after_seq_(after_seq) {}

  // Takes note of an event that has been handled. Heartbeats move the cursor
  // too: they tell up to where nothing more comes.
  void Advance(const v1::SubscribeResponse& event);

  // True after resume_required: the place is lost, and a stream can begin only
  // after ResumeFrom has said where.
  bool must_resume() const { return must_resume_; }
  void ResumeFrom(int64_t seq);

  // The last number that has been handled.
  int64_t after_seq() const { return after_seq_; }

 private:
  int64_t after_seq_;
  bool must_resume_ = false;
};

}  // namespace carillon
