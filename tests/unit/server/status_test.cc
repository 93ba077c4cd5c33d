#include "server/api/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

template <typename Detail>
std::optional<Detail> Find(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(status.error_code()));
  for (const auto& any : details.details()) {
    Detail detail;
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

TEST(ToGrpcStatus, GivesEveryErrorAReason) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status = ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "text"), "r1");
    const auto info = Find<google::rpc::ErrorInfo>(status);
    ASSERT_TRUE(info.has_value()) << code;
    EXPECT_EQ(info->domain(), "carillon");
    EXPECT_FALSE(info->reason().empty());
    EXPECT_EQ(info->metadata().at("request_id"), "r1");
  }
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(ToGrpcStatus, ListsViolationsAndRetryDelay) {
  const grpc::Status invalid = ToGrpcStatus(error::InvalidField("ttl", "must be longer"));
  const auto bad_request = Find<google::rpc::BadRequest>(invalid);
  ASSERT_TRUE(bad_request.has_value());
  EXPECT_EQ(bad_request->field_violations(0).field(), "ttl");
  const auto retry = Find<google::rpc::RetryInfo>(ToGrpcStatus(error::Overloaded("x", absl::Milliseconds(1500))));
  ASSERT_TRUE(retry.has_value());
  EXPECT_EQ(retry->retry_delay().seconds(), 1);
  EXPECT_EQ(retry->retry_delay().nanos(), 500'000'000);
}

TEST(ToGrpcStatus, HidesWhatIsOurFault) {
  const grpc::Status status = ToGrpcStatus(error::Internal("relation \"secret_table\" does not exist"), "r42");
  EXPECT_THAT(status.error_message(), Not(HasSubstr("secret_table")));
  EXPECT_THAT(status.error_message(), HasSubstr("r42"));
  EXPECT_THAT(status.error_details(), Not(HasSubstr("secret_table")));
}

TEST(ToGrpcStatus, CutsLongMessages) {
  const grpc::Status status = ToGrpcStatus(absl::InvalidArgumentError(std::string(100'000, 'x')));
  EXPECT_EQ(status.error_message().size(), limits::kMaxStatusMessageBytes);
}

}  // namespace
}  // namespace carillon
