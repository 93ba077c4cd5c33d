#include "carillon/domain/gathering.h"

#include <gtest/gtest.h>

namespace carillon {
namespace {

NotificationType Aggregating() {
  NotificationType type;
  type.channels = {Channel::kInApp, Channel::kFcm};
  type.policy.aggregation = Aggregation{.window = absl::Minutes(5), .sliding = false, .max_window = {}};
  return type;
}

Notification Like() {
  Notification item;
  item.actor_id = "bob";
  item.object_id = "post-1";
  item.channels = {Channel::kInApp, Channel::kFcm};
  return item;
}

TEST(Gathering, TakesWhatAnActorSaysAboutAnObjectInATypeThatAggregates) {
  EXPECT_TRUE(IsGathered(Aggregating(), Like()));
  NotificationType other = Aggregating();
  other.policy.aggregation.reset();
  EXPECT_FALSE(IsGathered(other, Like()));
  other = Aggregating();
  other.critical = true;
  EXPECT_FALSE(IsGathered(other, Like())) << "nothing holds it";
}

TEST(Gathering, LeavesAloneWhatHasNoActorOrNoObject) {
  Notification item = Like();
  item.actor_id.clear();
  EXPECT_FALSE(IsGathered(Aggregating(), item));
  item = Like();
  item.object_id.clear();
  EXPECT_FALSE(IsGathered(Aggregating(), item));
}

TEST(Gathering, LeavesAloneWhatNamesOtherChannelsThanItsType) {
  Notification item = Like();
  item.channels = {Channel::kFcm, Channel::kInApp};
  EXPECT_TRUE(IsGathered(Aggregating(), item)) << "in whatever order";
  item.channels = {Channel::kInApp};
  EXPECT_FALSE(IsGathered(Aggregating(), item));
  item.channels.clear();
  EXPECT_TRUE(IsGathered(Aggregating(), item));
}

}  // namespace
}  // namespace carillon
