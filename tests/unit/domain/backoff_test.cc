#include "carillon/domain/backoff.h"

#include <gtest/gtest.h>

namespace carillon {
namespace {

TEST(Backoff, StaysBelowADoublingCeilingAndItsMaximum) {
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(5));
  absl::Duration ceiling = absl::Milliseconds(100);
  for (int i = 0; i < 100; ++i) {
    const absl::Duration delay = backoff.Next();
    EXPECT_GT(delay, absl::ZeroDuration());
    EXPECT_LE(delay, std::min(ceiling, absl::Seconds(5)));
    ceiling = std::min(ceiling * 2, absl::Seconds(5));
  }
  EXPECT_EQ(backoff.failures(), 100);
}

TEST(Backoff, StartsOverAfterAReset) {
  Backoff backoff(absl::Milliseconds(1), absl::Hours(1));
  for (int i = 0; i < 20; ++i) backoff.Next();
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Milliseconds(1));
}

}  // namespace
}  // namespace carillon
