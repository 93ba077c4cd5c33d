#include "tests/kit/status_matchers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon::testing {
namespace {

using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(StatusMatchers, TellOkFromErrors) {
  EXPECT_THAT(absl::OkStatus(), IsOk());
  EXPECT_THAT(absl::StatusOr<int>(3), IsOk());
  EXPECT_THAT(absl::NotFoundError("gone"), Not(IsOk()));
}

TEST(StatusMatchers, LookAtCodeAndMessage) {
  const absl::StatusOr<int> result = absl::NotFoundError("no such app");
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kNotFound, HasSubstr("app")));
  EXPECT_THAT(result, Not(StatusIs(absl::StatusCode::kNotFound, HasSubstr("type"))));
  EXPECT_THAT(result, Not(StatusIs(absl::StatusCode::kInternal)));
}

TEST(StatusMatchers, LookAtTheValue) {
  EXPECT_THAT(absl::StatusOr<int>(3), IsOkAndHolds(3));
  EXPECT_THAT(absl::StatusOr<int>(3), Not(IsOkAndHolds(Gt(3))));
  EXPECT_THAT(absl::StatusOr<int>(absl::InternalError("")), Not(IsOkAndHolds(3)));
}

}  // namespace
}  // namespace carillon::testing
