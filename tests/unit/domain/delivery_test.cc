#include "carillon/domain/delivery.h"

#include <gtest/gtest.h>

#include <set>

namespace carillon {
namespace {

TEST(Delivery, HasAWordForEveryStateAndReadsItBack) {
  std::set<absl::string_view> names;
  for (int value = 1; value <= 8; ++value) {
    const auto state = static_cast<DeliveryState>(value);
    EXPECT_TRUE(names.insert(ToString(state)).second);
    EXPECT_EQ(ParseDeliveryState(ToString(state)), state);
  }
  EXPECT_FALSE(names.contains(""));
  EXPECT_EQ(ParseDeliveryState("queued"), std::nullopt);
  EXPECT_EQ(ParseDeliveryState(""), std::nullopt);
}

TEST(Delivery, HasNotEndedWhileItIsPendingOrHeld) {
  for (int value = 1; value <= 8; ++value) {
    const auto state = static_cast<DeliveryState>(value);
    EXPECT_EQ(IsTerminal(state), state != DeliveryState::kPending && state != DeliveryState::kHeld) << ToString(state);
  }
}

TEST(Delivery, HasAWordForEveryOutcomeOfAnAttemptAndReadsItBack) {
  std::set<absl::string_view> names;
  for (const AttemptOutcome outcome :
       {AttemptOutcome::kAccepted, AttemptOutcome::kRetryable, AttemptOutcome::kPermanent,
        AttemptOutcome::kBadRecipient, AttemptOutcome::kBadSender, AttemptOutcome::kUnconfirmed}) {
    EXPECT_TRUE(names.insert(ToString(outcome)).second);
    EXPECT_EQ(ParseAttemptOutcome(ToString(outcome)), outcome);
  }
  EXPECT_FALSE(names.contains(""));
  EXPECT_EQ(ParseAttemptOutcome("sent"), std::nullopt);
}

TEST(Delivery, HasAWordForEveryStateOfABreakerAndReadsItBack) {
  std::set<absl::string_view> names;
  for (const BreakerState state : {BreakerState::kClosed, BreakerState::kOpen, BreakerState::kHalfOpen}) {
    EXPECT_TRUE(names.insert(ToString(state)).second);
    EXPECT_EQ(ParseBreakerState(ToString(state)), state);
  }
  EXPECT_FALSE(names.contains(""));
  EXPECT_EQ(ParseBreakerState("ajar"), std::nullopt);
}

}  // namespace
}  // namespace carillon
