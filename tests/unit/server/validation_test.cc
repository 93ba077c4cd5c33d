#include "server/api/validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;
using testing::StatusIs;

TEST(Utf8, AcceptsWhatIsWellFormed) {
  for (const char* text : {"", "plain", "Zoë", "日本語", "😀", "\xf4\x8f\xbf\xbf"}) EXPECT_TRUE(IsUtf8(text)) << text;
}

TEST(Utf8, RefusesWhatIsNot) {
  for (const char* text : {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                           "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xff"}) {
    EXPECT_FALSE(IsUtf8(text));
  }
}

TEST(Violations, TakeIdsOfAnyLanguageUpToTheLimit) {
  Violations violations;
  EXPECT_TRUE(violations.CheckId("user_id", "Zoë:42/😀", /*required=*/true));
  EXPECT_TRUE(violations.CheckId("user_id", std::string(limits::kMaxIdBytes, 'x'), /*required=*/true));
  EXPECT_TRUE(violations.CheckId("actor_id", "", /*required=*/false));
  EXPECT_THAT(violations.ToStatus(), IsOk());
}

TEST(Violations, RefuseControlCharactersNulBadUtf8AndLength) {
  for (const std::string& bad : {std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f"), std::string("\xff"),
                                 std::string(limits::kMaxIdBytes + 1, 'x'), std::string()}) {
    Violations violations;
    EXPECT_FALSE(violations.CheckId("user_id", bad, /*required=*/true));
    EXPECT_THAT(violations.ToStatus(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("user_id")));
  }
}

TEST(Violations, NameFieldsBelowTheirPrefix) {
  Violations all;
  Violations own("requests[3].");
  own.CheckName("type", "Bad Name", limits::kMaxTypeNameBytes);
  own.Add("ttl", "must be longer");
  all.Append(own);
  EXPECT_THAT(all.ToStatus(), StatusIs(absl::StatusCode::kInvalidArgument,
                                       AllOf(HasSubstr("requests[3].type"), HasSubstr("requests[3].ttl"))));
}

TEST(Violations, GiveAnUnknownTypeAReasonOfItsOwn) {
  Violations violations;
  violations.AddUnknownType("type", "nope");
  EXPECT_EQ(DetailsOf(violations.ToStatus()).reason, "UNKNOWN_TYPE");
  violations.Add("user_id", "is required");
  EXPECT_EQ(DetailsOf(violations.ToStatus()).reason, "INVALID_FIELD");
}

TEST(Violations, KeepNoMoreThanAreReportedAndOneMore) {
  Violations all, own("own.");
  for (int i = 0; i < 100'000; ++i) {
    all.Add("user_id", "is wrong");
    own.Add("user_id", "is wrong");
  }
  all.Append(own);
  Violations few;
  few.Add("first", "is wrong");
  few.Append(all);
  few.AddUnknownType("type", "nope");
  for (const Violations* violations : {&all, &own, &few}) {
    const ErrorDetails details = DetailsOf(violations->ToStatus());
    EXPECT_EQ(details.reason, "INVALID_FIELD");
    EXPECT_THAT(details.violations, SizeIs(limits::kMaxReportedViolations));
  }
}

TEST(CheckChannels, RefusesMoreThanThereAreAtOnce) {
  Violations violations;
  EXPECT_THAT(CheckChannels({1, 2, 3, 4, 5, 6}, violations), SizeIs(6));
  EXPECT_TRUE(violations.empty());
  const std::vector<int> many(1'000'000, 99);
  EXPECT_THAT(CheckChannels(many, violations), IsEmpty());
  EXPECT_THAT(DetailsOf(violations.ToStatus()).violations, SizeIs(1));
}

}  // namespace
}  // namespace carillon
