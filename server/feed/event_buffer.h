// What waits to be sent on one stream.
#pragma once

#include <utility>
#include <vector>

#include "carillon/wire/feed_event.h"

namespace carillon {

// First in, first out. Empty, as it mostly is, it holds next to no memory. Not
// thread-safe.
class EventBuffer {
 public:
  bool empty() const { return size() == 0; }
  size_t size() const { return events_.size() - first_; }
  // Of the messages.
  size_t bytes() const { return bytes_; }

  void Push(FeedEvent event) {
    bytes_ += event.message->size();
    events_.push_back(std::move(event));
  }

  // There must be one.
  FeedEvent Pop() {
    FeedEvent event = std::move(events_[first_++]);
    bytes_ -= event.message->size();
    if (empty()) {
      Clear();
    } else if (2 * first_ > events_.size()) {
      events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
    return event;
  }

  void Clear() {
    events_.clear();
    if (events_.capacity() > kKeptCapacity) events_.shrink_to_fit();
    first_ = 0;
    bytes_ = 0;
  }

 private:
  // One event after the other needs no allocation.
  static constexpr size_t kKeptCapacity = 4;

  std::vector<FeedEvent> events_;
  size_t first_ = 0;
  size_t bytes_ = 0;
};

}  // namespace carillon
