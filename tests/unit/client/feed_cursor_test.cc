#include "client/carillon/feed_cursor.h"

#include <gtest/gtest.h>

namespace carillon {
namespace {

v1::SubscribeResponse Item(int64_t seq) {
  v1::SubscribeResponse event;
  event.set_seq(seq);
  event.mutable_item()->set_seq(seq);
  return event;
}

v1::SubscribeResponse ResumeRequired(int64_t seq) {
  v1::SubscribeResponse event;
  event.set_seq(seq);
  event.mutable_resume_required()->set_cause(v1::ResumeRequired::CAUSE_SLOW_CLIENT);
  return event;
}

TEST(FeedCursor, FollowsWhatWasHandled) {
  FeedCursor cursor(4);
  cursor.Advance(Item(5));
  cursor.Advance(Item(6));
  EXPECT_EQ(cursor.after_seq(), 6);
  EXPECT_FALSE(cursor.must_resume());
}

TEST(FeedCursor, MovesWithHeartbeatsOverNumbersThatNeverCome) {
  FeedCursor cursor(4);
  v1::SubscribeResponse heartbeat;
  heartbeat.set_seq(9);
  heartbeat.mutable_heartbeat();
  cursor.Advance(heartbeat);
  EXPECT_EQ(cursor.after_seq(), 9);
}

TEST(FeedCursor, NeverGoesBackByAnEvent) {
  FeedCursor cursor(10);
  cursor.Advance(Item(3));
  EXPECT_EQ(cursor.after_seq(), 10);
}

TEST(FeedCursor, KeepsItsPlaceAtResumeRequiredUntilItIsToldWhereToGoOn) {
  FeedCursor cursor(4);
  cursor.Advance(ResumeRequired(50));
  EXPECT_TRUE(cursor.must_resume());
  EXPECT_EQ(cursor.after_seq(), 4);
  cursor.ResumeFrom(60);
  EXPECT_FALSE(cursor.must_resume());
  EXPECT_EQ(cursor.after_seq(), 60);
}

TEST(FeedCursor, ResumesBelowItsPlaceInAnotherFeed) {
  FeedCursor cursor(100);
  cursor.Advance(ResumeRequired(0));
  cursor.ResumeFrom(7);
  EXPECT_EQ(cursor.after_seq(), 7);
}

}  // namespace
}  // namespace carillon
