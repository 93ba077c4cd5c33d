#include "carillon/domain/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing::StatusIs;

TEST(Errors, KeepReasonMetadataViolationsAndDelayTogether) {
  const absl::Status status = MakeError(absl::StatusCode::kUnavailable, "away",
                                        {.reason = "BACKEND_UNAVAILABLE",
                                         .metadata = {{"backend", "postgresql"}, {"empty", ""}},
                                         .violations = {{"requests[3].user_id", "must be: 1 to 255; bytes"}},
                                         .retry_delay = absl::Milliseconds(1500)});
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, "BACKEND_UNAVAILABLE");
  EXPECT_THAT(details.metadata, SizeIs(2));
  EXPECT_EQ(details.metadata.at("backend"), "postgresql");
  ASSERT_THAT(details.violations, SizeIs(1));
  EXPECT_EQ(details.violations[0].field, "requests[3].user_id");
  EXPECT_EQ(details.violations[0].description, "must be: 1 to 255; bytes");
  EXPECT_EQ(details.retry_delay, absl::Milliseconds(1500));
}

TEST(Errors, HaveNoDetailsUnlessTheyWereGiven) {
  EXPECT_TRUE(DetailsOf(absl::InternalError("x")).reason.empty());
  EXPECT_TRUE(DetailsOf(absl::OkStatus()).reason.empty());
}

TEST(Errors, NameEveryInvalidFieldUpToALimit) {
  EXPECT_THAT(error::InvalidFields({{"a", "is required"}, {"b", "is odd"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a: is required; b: is odd")));
  const std::vector<FieldViolation> many(500, {"field", "is wrong"});
  EXPECT_THAT(DetailsOf(error::InvalidFields(many)).violations, SizeIs(limits::kMaxReportedViolations));
}

TEST(Errors, TellWhatPassesByItself) {
  for (const absl::Status& passing :
       {error::BackendUnavailable("redis", "gone"), error::Overloaded("x", absl::Seconds(1)), absl::AbortedError(""),
        absl::DeadlineExceededError(""), absl::CancelledError("")}) {
    EXPECT_TRUE(IsInfrastructureFailure(passing)) << passing;
  }
  for (const absl::Status& lasting : {error::Internal("x"), error::NotFound("app", "1"), absl::OkStatus(),
                                      error::InvalidField("a", "b"), absl::AlreadyExistsError("")}) {
    EXPECT_FALSE(IsInfrastructureFailure(lasting)) << lasting;
  }
}

}  // namespace
}  // namespace carillon
