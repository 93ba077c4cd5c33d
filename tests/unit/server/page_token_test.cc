#include "server/api/page_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using testing::IsOkAndHolds;
using testing::StatusIs;

TEST(PageToken, GivesItsPositionBackToTheSameRequest) {
  const std::string position("\0\x01 anything", 11);
  EXPECT_THAT(DecodePageToken(EncodePageToken(position, "list/1"), "list/1"), IsOkAndHolds(position));
  EXPECT_THAT(DecodePageToken("", "list/1"), IsOkAndHolds(""));
}

TEST(PageToken, IsRefusedByAnotherRequest) {
  EXPECT_THAT(DecodePageToken(EncodePageToken("5", "list/1"), "list/2"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(PageToken, IsRefusedWhenMadeUp) {
  for (const char* token : {"x", "!!!!", "AAAAAAAAAAAAAAAA"}) {
    EXPECT_THAT(DecodePageToken(token, "list/1"), StatusIs(absl::StatusCode::kInvalidArgument)) << token;
  }
}

TEST(PageSize, DefaultsCoercesAndRefuses) {
  EXPECT_THAT(EffectivePageSize(0, 50, 500), IsOkAndHolds(50));
  EXPECT_THAT(EffectivePageSize(7, 50, 500), IsOkAndHolds(7));
  EXPECT_THAT(EffectivePageSize(10'000, 50, 500), IsOkAndHolds(500));
  EXPECT_THAT(EffectivePageSize(-1, 50, 500), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace carillon
