// What the adapters say of calls, and how they read what all providers say alike.
#include "workers/channels/send_results.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "tests/unit/workers/provider_fixture.h"

namespace carillon {
namespace {

using testing::Answer;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);  // Tue, 14 Nov 2023 22:13:20 GMT

std::optional<absl::Duration> Read(const std::string& value) {
  return RetryAfter(Answer(429, "", {{"retry-after", value}}), kNow);
}

TEST(RetryAfterHeader, IsSecondsOrADate) {
  EXPECT_EQ(Read("0"), absl::ZeroDuration());
  EXPECT_EQ(Read("17"), absl::Seconds(17));
  EXPECT_EQ(Read("Tue, 14 Nov 2023 22:14:20 GMT"), absl::Seconds(60));
  EXPECT_EQ(Read("Tue, 14 Nov 2023 22:00:00 GMT"), absl::ZeroDuration());
}

TEST(RetryAfterHeader, IsBoundedAndMayBeAbsent) {
  EXPECT_EQ(Read("99999999999"), absl::Hours(24));
  EXPECT_EQ(Read("inf"), absl::Hours(24));
  EXPECT_EQ(Read("Tue, 14 Nov 2033 22:00:00 GMT"), absl::Hours(24));
  for (const char* value : {"", "-1", "nan", "soon", "2023-11-14"}) EXPECT_EQ(Read(value), std::nullopt) << value;
  EXPECT_EQ(RetryAfter(Answer(429), kNow), std::nullopt);
}

TEST(SendResult, ErrorIsCutBetweenCharactersAndHasNoControlCharacters) {
  const std::string error = absl::StrCat(std::string(limits::kMaxErrorBytes - 1, 'x'), "\u00e4");
  EXPECT_EQ(MakeResult(AttemptOutcome::kPermanent, "1", error).error.size(), limits::kMaxErrorBytes - 1);
  EXPECT_EQ(MakeResult(AttemptOutcome::kPermanent, "1", "a\r\nb").error, "a  b");
}

TEST(SendResult, ErrorQuotesNoAddress) {
  EXPECT_EQ(WithoutAddress("The 'To' number +15551234567 is bad", "+15551234567"), "The 'To' number *** is bad");
  EXPECT_EQ(WithoutAddress("to 15551234567", "+15551234567"), "to ***");
  EXPECT_EQ(WithoutAddress("no <ann@example.com> here", "ann@example.com"), "no <***> here");
  EXPECT_EQ(WithoutAddress("as it was", ""), "as it was");
}

TEST(SendResult, OfNoAnswerTellsHowFarTheCallGot) {
  EXPECT_EQ(ResultOfUnanswered(CallEnd::kNotSent, false, "refused").outcome, AttemptOutcome::kRetryable);
  EXPECT_EQ(ResultOfUnanswered(CallEnd::kUnconfirmed, false, "timeout").outcome, AttemptOutcome::kUnconfirmed);
  EXPECT_EQ(ResultOfUnanswered(CallEnd::kNotSent, true, "private").outcome, AttemptOutcome::kBadSender);
}

}  // namespace
}  // namespace carillon
