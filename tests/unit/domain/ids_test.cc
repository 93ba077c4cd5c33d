#include "carillon/domain/ids.h"

#include <gtest/gtest.h>

#include <set>

namespace carillon {
namespace {

TEST(Uuid, ReadsBackWhatItWrites) {
  const Uuid id = NewUuid7(absl::FromUnixMillis(1'795'246'884'082));
  EXPECT_EQ(Uuid::Parse(id.ToString()), id);
  EXPECT_EQ(Uuid::FromBytes(id.bytes()), id);
}

TEST(Uuid, RefusesWhatIsNone) {
  for (const char* text : {"", "01a1fd0d-8520-799b-8282-0d630dc8bd6", "01a1fd0d-8520-799b-8282-0d630dc8bd6dd",
                           "01a1fd0d_8520-799b-8282-0d630dc8bd6d", "01a1fd0d-8520-799b-8282-0d630dc8bd6g"}) {
    EXPECT_FALSE(Uuid::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(Uuid::FromBytes("short").has_value());
}

TEST(Uuid, CarriesVersionVariantAndTime) {
  const absl::Time now = absl::FromUnixMillis(1'795'246'884'082);
  const std::string text = NewUuid7(now).ToString();
  EXPECT_EQ(text[14], '7');
  EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
  EXPECT_EQ(Uuid::Parse(text)->time(), now);
}

TEST(Uuid, OfALaterMillisecondIsGreater) {
  const absl::Time now = absl::FromUnixMillis(1'795'246'884'082);
  for (int i = 0; i < 100; ++i) {
    EXPECT_LT(NewUuid7(now), NewUuid7(now + absl::Milliseconds(1)));
  }
}

TEST(Uuid, IsNotBelowTheFloorOfItsMoment) {
  const absl::Time now = absl::FromUnixMillis(1'795'246'884'082);
  EXPECT_LE(Uuid7Floor(now), NewUuid7(now));
  EXPECT_GT(Uuid7Floor(now), NewUuid7(now - absl::Milliseconds(1)));
  EXPECT_EQ(Uuid7Floor(absl::InfinitePast()), Uuid());
}

TEST(Uuid, IsNeverMadeTwice) {
  std::set<Uuid> ids;
  for (int i = 0; i < 10'000; ++i) ids.insert(NewUuid7(absl::UnixEpoch()));
  EXPECT_EQ(ids.size(), 10'000);
}

}  // namespace
}  // namespace carillon
