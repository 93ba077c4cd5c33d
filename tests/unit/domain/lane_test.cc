#include "carillon/domain/lane.h"

#include <gtest/gtest.h>

namespace carillon {
namespace {

TEST(Lane, ReadsBackItsNames) {
  for (const Lane lane : kAllLanes) EXPECT_EQ(ParseLane(ToString(lane)), lane);
  EXPECT_FALSE(ParseLane("Payment").has_value());
  EXPECT_FALSE(ParseLane("").has_value());
}

TEST(Channel, ReadsBackItsNames) {
  for (const Channel channel : kExternalChannels) EXPECT_EQ(ParseChannel(ToString(channel)), channel);
  EXPECT_EQ(ParseChannel("in_app"), Channel::kInApp);
}

TEST(State, ReadsBackItsNamesAndKnowsItsEnds) {
  int terminal = 0;
  for (int value = 1; value <= 9; ++value) {
    const State state = static_cast<State>(value);
    EXPECT_EQ(ParseState(ToString(state)), state);
    terminal += IsTerminal(state) ? 1 : 0;
  }
  EXPECT_EQ(terminal, 5);
  EXPECT_FALSE(IsTerminal(State::kHeld));
}

TEST(Lane, IsIdleOnlyAfterTheLongestRetry) {
  for (const Lane lane : kAllLanes) EXPECT_GT(DefaultIdleBound(lane), absl::Seconds(20));
}

}  // namespace
}  // namespace carillon
