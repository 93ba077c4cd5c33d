#include "server/api/app_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::StatusIs;

v1::UpdateAppRequest WithLimits(int64_t app_rate, int64_t app_burst, int64_t sender_rate = 0, int64_t sender_burst = 0,
                                int64_t runaway = 0) {
  v1::UpdateAppRequest request;
  request.mutable_limits()->set_app_rate(app_rate);
  request.mutable_limits()->set_app_burst(app_burst);
  request.mutable_limits()->set_sender_rate(sender_rate);
  request.mutable_limits()->set_sender_burst(sender_burst);
  request.mutable_limits()->set_runaway_per_minute(runaway);
  return request;
}

absl::Status Check(const v1::UpdateAppRequest& request) {
  Violations violations;
  CheckAppChanges(request, violations);
  return violations.ToStatus();
}

TEST(CheckAppChanges, TakesLimitsAndTheirAbsence) {
  Violations violations;
  const AppChanges changes = CheckAppChanges(WithLimits(100, 500, 10, 10, 6000), violations);
  EXPECT_TRUE(violations.empty());
  EXPECT_EQ(changes.limits,
            (SendLimits{
                .app_rate = 100, .app_burst = 500, .sender_rate = 10, .sender_burst = 10, .runaway_per_minute = 6000}));
  EXPECT_FALSE(changes.make_sandbox);
  EXPECT_EQ(CheckAppChanges({}, violations).limits, std::nullopt);
  EXPECT_EQ(CheckAppChanges(WithLimits(0, 0), violations).limits, SendLimits());
  EXPECT_OK(Check(WithLimits(1'000'000, 1'000'000)));
  EXPECT_OK(Check(WithLimits(1, 86'400)));
}

TEST(CheckAppChanges, NamesEveryLimitThatIsWrong) {
  EXPECT_THAT(Check(WithLimits(1'000'001, 0, -1, 0, 1'000'000'001)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("limits.app_rate: must be 0 to 1000000"), HasSubstr("limits.sender_rate:"),
                             HasSubstr("limits.runaway_per_minute: must be 0 to 1000000000"))));
  EXPECT_THAT(Check(WithLimits(10, 9, 10, 864'001)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("limits.app_burst: must be 0, or 10 to 864000"),
                             HasSubstr("limits.sender_burst: must be 0, or 10 to 864000"))));
  EXPECT_THAT(Check(WithLimits(0, 5)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("limits.app_burst: must be 0 without a rate")));
}

TEST(AppToProto, ShowsLimitsAndATimeOnlyWhereThereAreAny) {
  v1::App plain;
  ToProto(App{.name = "a", .create_time = absl::FromUnixSeconds(5)}, absl::FromUnixSeconds(10), &plain);
  EXPECT_FALSE(plain.has_limits());
  EXPECT_FALSE(plain.sandbox());
  EXPECT_FALSE(plain.has_app_time());
  v1::App sandbox;
  ToProto(App{.create_time = absl::FromUnixSeconds(5),
              .limits = {.sender_rate = 3},
              .sandbox = true,
              .clock_offset = absl::Hours(1)},
          absl::FromUnixSeconds(10), &sandbox);
  EXPECT_EQ(sandbox.limits().sender_rate(), 3);
  EXPECT_TRUE(sandbox.sandbox());
  EXPECT_EQ(sandbox.app_time().seconds(), 3610);
}

}  // namespace
}  // namespace carillon
