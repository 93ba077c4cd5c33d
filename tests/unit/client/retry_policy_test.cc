#include "client/carillon/retry_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/carillon/status.h"
#include "tests/unit/client/fake_server.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::Le;
using testing::RichError;

double LargestJitter() { return 1.0; }

absl::Status Overloaded(absl::Duration delay) {
  return FromGrpcStatus(RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", "OVERLOADED", delay));
}

TEST(JitteredBackoff, DoublesUpToItsLimit) {
  JitteredBackoff backoff(absl::Milliseconds(100), absl::Milliseconds(350), LargestJitter);
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(100));
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(200));
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(350));
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(350));
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(100));
}

TEST(JitteredBackoff, DrawsFromTheWholeRange) {
  JitteredBackoff backoff(absl::Seconds(1), absl::Seconds(1));
  absl::Duration smallest = absl::InfiniteDuration();
  absl::Duration largest = absl::ZeroDuration();
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration delay = backoff.Next();
    ASSERT_THAT(delay, AllOf(Gt(absl::ZeroDuration()), Le(absl::Seconds(1))));
    smallest = std::min(smallest, delay);
    largest = std::max(largest, delay);
  }
  // Each fails once in 10^22 runs.
  EXPECT_LT(smallest, absl::Milliseconds(50));
  EXPECT_GT(largest, absl::Milliseconds(950));
}

TEST(RetryPolicy, RepeatsWhatWasUnavailableUntilItsAttemptsAreUsed) {
  RetryOptions options;
  options.max_attempts = 3;
  RetryPolicy policy(options, /*repeatable=*/true);
  EXPECT_TRUE(policy.DelayAfter(absl::UnavailableError(""), absl::ZeroDuration()).has_value());
  EXPECT_TRUE(policy.DelayAfter(absl::UnavailableError(""), absl::ZeroDuration()).has_value());
  EXPECT_EQ(policy.DelayAfter(absl::UnavailableError(""), absl::ZeroDuration()), std::nullopt);
}

TEST(RetryPolicy, NeverRepeatsWhatMayNotHappenTwice) {
  RetryPolicy policy(RetryOptions(), /*repeatable=*/false);
  EXPECT_EQ(policy.DelayAfter(absl::UnavailableError(""), absl::ZeroDuration()), std::nullopt);
  EXPECT_EQ(policy.DelayAfter(Overloaded(absl::Milliseconds(1)), absl::ZeroDuration()), std::nullopt);
}

TEST(RetryPolicy, NeverRepeatsOtherErrors) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kInternal, absl::StatusCode::kDeadlineExceeded,
        absl::StatusCode::kFailedPrecondition, absl::StatusCode::kUnauthenticated, absl::StatusCode::kUnknown}) {
    RetryPolicy policy(RetryOptions(), /*repeatable=*/true);
    EXPECT_EQ(policy.DelayAfter(absl::Status(code, ""), absl::ZeroDuration()), std::nullopt) << code;
  }
}

TEST(RetryPolicy, RepeatsResourceExhaustedOnlyWhereTheServerSaysWhen) {
  RetryPolicy policy(RetryOptions(), /*repeatable=*/true, LargestJitter);
  EXPECT_EQ(policy.DelayAfter(absl::ResourceExhaustedError(""), absl::ZeroDuration()), std::nullopt);
  RetryPolicy told(RetryOptions(), /*repeatable=*/true, LargestJitter);
  EXPECT_TRUE(told.DelayAfter(Overloaded(absl::Milliseconds(1)), absl::ZeroDuration()).has_value());
}

TEST(RetryPolicy, NeverComesBackBeforeTheServerAsks) {
  RetryOptions options;
  options.initial_backoff = absl::Milliseconds(1);
  RetryPolicy policy(options, /*repeatable=*/true);
  EXPECT_GT(policy.DelayAfter(Overloaded(absl::Milliseconds(900)), absl::ZeroDuration()), absl::Milliseconds(900));
}

TEST(RetryPolicy, GivesUpWhereTheWaitWouldOutlastItsTime) {
  RetryOptions options;
  options.initial_backoff = absl::Milliseconds(100);
  options.total_time = absl::Seconds(1);
  RetryPolicy policy(options, /*repeatable=*/true, LargestJitter);
  EXPECT_EQ(policy.DelayAfter(absl::UnavailableError(""), absl::Milliseconds(800)), absl::Milliseconds(100));
  EXPECT_EQ(policy.DelayAfter(absl::UnavailableError(""), absl::Milliseconds(850)), std::nullopt);
}

}  // namespace
}  // namespace carillon
