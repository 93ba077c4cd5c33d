#include "client/bench/events.h"

#include <gtest/gtest.h>

namespace carillon::bench {
namespace {

EventTrack TrackOf(int64_t size, std::vector<ProgressSample> samples) {
  EventTrack track;
  track.last.set_audience_size(size);
  track.samples = std::move(samples);
  if (track.samples.back().expanded == size) track.ended = track.samples.back().moment;
  return track;
}

TEST(EventAbout, IsOneThatNoOtherEventSuppresses) {
  const v1::PublishEventRequest first = EventAbout("object-1");
  const v1::PublishEventRequest second = EventAbout("object-2");
  EXPECT_EQ(first.type(), kEventType);
  EXPECT_EQ(first.object_id(), "object-1");
  EXPECT_NE(first.actor_id(), second.actor_id());
  EXPECT_NE(first.idempotency_key(), second.idempotency_key());
}

TEST(SideBySide, TellsHowFarTheOthersWereWhenTheFirstEnded) {
  const std::vector<EventTrack> tracks = {
      TrackOf(100, {{absl::Seconds(1), 50}, {absl::Seconds(2), 100}}),
      TrackOf(200, {{absl::Seconds(1), 80}, {absl::Seconds(2), 160}, {absl::Seconds(3), 200}})};
  EXPECT_DOUBLE_EQ(LeastShareAtFirstEnd(tracks), 0.8);
}

TEST(SideBySide, IsNothingIfOneWaitedForTheOther) {
  const std::vector<EventTrack> tracks = {TrackOf(100, {{absl::Seconds(1), 100}}),
                                          TrackOf(100, {{absl::Seconds(1), 0}, {absl::Seconds(2), 100}})};
  EXPECT_DOUBLE_EQ(LeastShareAtFirstEnd(tracks), 0);
}

TEST(SideBySide, IsWholeForOneAlone) {
  EXPECT_DOUBLE_EQ(LeastShareAtFirstEnd({TrackOf(100, {{absl::Seconds(1), 100}})}), 1);
}

TEST(LongestPause, IsTheLongestTimeWithoutProgress) {
  EventTrack track = TrackOf(
      100, {{absl::Seconds(11), 10}, {absl::Seconds(12), 10}, {absl::Seconds(14), 60}, {absl::Seconds(15), 100}});
  track.published = absl::Seconds(10);
  EXPECT_EQ(LongestPause(track), absl::Seconds(3));
}

TEST(LongestPause, IsNotOverBeforeTheEventMoves) {
  EventTrack track = TrackOf(100, {{absl::Seconds(11), 10}, {absl::Seconds(18), 10}});
  track.published = absl::Seconds(10);
  EXPECT_EQ(LongestPause(track), absl::Seconds(7));
}

}  // namespace
}  // namespace carillon::bench
