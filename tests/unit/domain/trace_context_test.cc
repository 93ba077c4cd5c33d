#include "carillon/domain/trace_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace carillon {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

const std::string kTraceId = "0af7651916cd43dd8448eb211c80319c";
const std::string kTrace = "00-" + kTraceId + "-b7ad6b7169203331-01";

TEST(TraceContext, KnowsATraceparent) {
  EXPECT_TRUE(IsTraceparent(kTrace));
  EXPECT_EQ(TraceIdOf(kTrace), kTraceId);
}

TEST(TraceContext, RefusesWhatIsNone) {
  for (const std::string& text :
       {std::string(), std::string("00"), std::string(55, 'a'), std::string(55, '-'), std::string(55, '0'),
        kTrace + "a", kTrace + "-", kTrace.substr(0, 54), " " + kTrace.substr(1),
        // An id of zeros, digits in upper case, fields in the wrong place, another alphabet.
        "00-" + std::string(32, '0') + "-b7ad6b7169203331-01", "00-" + kTraceId + "-0000000000000000-01",
        std::string("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
        "00-" + kTraceId + "-B7AD6B7169203331-01", "00" + kTraceId + "--b7ad6b7169203331-01",
        "00-" + kTraceId + "-b7ad6b716920333--01", "00-" + kTraceId + "-b7ad6b716920333g-01",
        "00-" + kTraceId + "-b7ad6b7169203331_01", "0x-" + kTraceId + "-b7ad6b7169203331-01",
        "ff-" + kTraceId + "-b7ad6b7169203331-01"}) {
    EXPECT_FALSE(IsTraceparent(text)) << text;
    EXPECT_EQ(TraceIdOf(text), "") << text;
    EXPECT_EQ(NextTraceparent(text), "") << text;
  }
}

TEST(TraceContext, GoesOnWithAnIdOfItsOwn) {
  std::set<std::string> seen = {kTrace};
  for (int i = 0; i < 100; ++i) {
    const std::string next = NextTraceparent(kTrace);
    EXPECT_TRUE(IsTraceparent(next)) << next;
    EXPECT_THAT(next, StartsWith("00-" + kTraceId + "-"));
    EXPECT_THAT(next, EndsWith("-01"));
    EXPECT_TRUE(seen.insert(next).second);
  }
}

TEST(TraceContext, KeepsOfTheFlagsWhatItKnows) {
  EXPECT_THAT(NextTraceparent(kTrace.substr(0, 53) + "00"), EndsWith("-00"));
  EXPECT_THAT(NextTraceparent(kTrace.substr(0, 53) + "fe"), EndsWith("-00"));
  EXPECT_THAT(NextTraceparent(kTrace.substr(0, 53) + "03"), EndsWith("-01"));
}

TEST(TraceContext, ReadsLaterVersionsAsFarAsItKnowsThem) {
  const std::string later = "cc" + kTrace.substr(2);
  EXPECT_FALSE(IsTraceparent(later));
  EXPECT_THAT(NextTraceparent(later), StartsWith("00-" + kTraceId));
  EXPECT_THAT(NextTraceparent(later + "-what-the-future-will-be-like"), StartsWith("00-" + kTraceId));
  EXPECT_EQ(NextTraceparent(later + ".what"), "");
}

}  // namespace
}  // namespace carillon
