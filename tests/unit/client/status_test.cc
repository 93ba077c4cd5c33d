#include "client/carillon/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client/fake_server.h"

namespace carillon {
namespace {

using ::testing::Eq;
using ::testing::Optional;
using testing::RichError;

TEST(FromGrpcStatus, ShowsReasonAndMetadataInTheMessage) {
  const absl::Status status = FromGrpcStatus(RichError(grpc::StatusCode::NOT_FOUND, "no such thing", "NOT_FOUND"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no such thing [NOT_FOUND request_id=r1]");
  EXPECT_EQ(ReasonOf(status), "NOT_FOUND");
}

TEST(FromGrpcStatus, KeepsTheDelayThatTheServerAsksFor) {
  const absl::Status status =
      FromGrpcStatus(RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", "OVERLOADED", absl::Milliseconds(250)));
  EXPECT_THAT(RetryDelayOf(status), Optional(Eq(absl::Milliseconds(250))));
}

TEST(FromGrpcStatus, TakesStatusesWithoutDetailsAsTheyAre) {
  const absl::Status status = FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection refused"));
  EXPECT_EQ(status, absl::UnavailableError("connection refused"));
  EXPECT_EQ(ReasonOf(status), "");
  EXPECT_EQ(RetryDelayOf(status), std::nullopt);
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(FromGrpcStatus, PassesOverDetailsThatCantBeRead) {
  const absl::Status status = FromGrpcStatus(grpc::Status(grpc::StatusCode::INTERNAL, "broken", "\xFF\xFF"));
  EXPECT_EQ(status, absl::InternalError("broken"));
}

}  // namespace
}  // namespace carillon
