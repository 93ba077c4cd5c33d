// Matchers for absl::Status and absl::StatusOr, which Debian 12's Abseil lacks:
//
//   EXPECT_THAT(store.Find("x"), StatusIs(absl::StatusCode::kNotFound));
//   EXPECT_THAT(store.Version(), IsOkAndHolds(Gt(1)));
//   ASSERT_OK_AND_ASSIGN(auto app, store.Find("k"));
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "carillon/domain/status_macros.h"

namespace carillon::testing {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  *result_listener << "which is " << StatusOf(arg);
  return StatusOf(arg).ok();
}

MATCHER_P(StatusIs, code, "has the code " + absl::StatusCodeToString(code)) {
  *result_listener << "which is " << StatusOf(arg);
  return StatusOf(arg).code() == code;
}

MATCHER_P2(StatusIs, code, message_matcher,
           "has the code " + absl::StatusCodeToString(code) + " and a message that " +
               ::testing::DescribeMatcher<std::string>(message_matcher, negation)) {
  *result_listener << "which is " << StatusOf(arg);
  return StatusOf(arg).code() == code &&
         ::testing::ExplainMatchResult(message_matcher, std::string(StatusOf(arg).message()), result_listener);
}

MATCHER_P(IsOkAndHolds, value_matcher, "is OK and holds a matching value") {
  if (!arg.ok()) {
    *result_listener << "which is " << arg.status();
    return false;
  }
  return ::testing::ExplainMatchResult(value_matcher, *arg, result_listener);
}

}  // namespace carillon::testing

#define EXPECT_OK(expression) EXPECT_THAT(expression, ::carillon::testing::IsOk())
#define ASSERT_OK(expression) ASSERT_THAT(expression, ::carillon::testing::IsOk())
#define ASSERT_OK_AND_ASSIGN(target, expression) \
  ASSERT_OK_AND_ASSIGN_INNER(CARILLON_CONCAT(status_or_, __LINE__), target, expression)
#define ASSERT_OK_AND_ASSIGN_INNER(name, target, expression) \
  auto name = (expression);                                  \
  ASSERT_THAT(name, ::carillon::testing::IsOk());            \
  target = *std::move(name)
