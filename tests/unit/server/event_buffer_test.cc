#include "server/feed/event_buffer.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>
#include <string>

namespace carillon {
namespace {

FeedEvent Event(int64_t seq) {
  return {.seq = seq, .message = std::make_shared<const std::string>(std::string(seq % 7, 'x'))};
}

TEST(EventBuffer, GivesOutWhatWasPutInInItsOrder) {
  std::mt19937 random(1);
  EventBuffer buffer;
  std::deque<int64_t> model;
  size_t bytes = 0;
  for (int64_t seq = 1; seq < 20'000; ++seq) {
    // Now it grows, now it drains.
    if (random() % 100 < (seq / 1000 % 2 == 0 ? 70 : 30)) {
      buffer.Push(Event(seq));
      model.push_back(seq);
      bytes += seq % 7;
    } else if (!model.empty()) {
      ASSERT_EQ(buffer.Pop().seq, model.front());
      bytes -= model.front() % 7;
      model.pop_front();
    }
    ASSERT_EQ(buffer.size(), model.size());
    ASSERT_EQ(buffer.bytes(), bytes);
    ASSERT_EQ(buffer.empty(), model.empty());
  }
}

TEST(EventBuffer, IsEmptyOnceCleared) {
  EventBuffer buffer;
  for (int64_t seq = 1; seq <= 100; ++seq) buffer.Push(Event(seq));
  buffer.Pop();
  buffer.Clear();
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.bytes(), 0u);
  buffer.Push(Event(3));
  EXPECT_EQ(buffer.Pop().seq, 3);
}

TEST(EventBuffer, LetsGoOfMessagesThatWereTaken) {
  EventBuffer buffer;
  const FeedEvent first = Event(1);
  buffer.Push(first);
  buffer.Push(Event(2));
  buffer.Pop();
  EXPECT_EQ(first.message.use_count(), 1);
}

}  // namespace
}  // namespace carillon
