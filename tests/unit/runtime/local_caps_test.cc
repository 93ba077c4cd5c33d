#include "carillon/runtime/local_caps.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/kit/cap_cases.h"

namespace carillon::testing {
namespace {

constexpr auto kTake = CapStore::Mode::kTake;
constexpr auto kPeek = CapStore::Mode::kPeek;
const absl::Time kBegin = absl::FromUnixSeconds(1'700'000'000);

class LocalCapsTest : public ::testing::Test {
 protected:
  bool LetsIn(uint8_t member, absl::Duration after, const std::string& recipient = "ann", int limit = 1) {
    return caps_.Use(RequestOf(recipient, member, {CapOf(limit, absl::Hours(1))}), kTake, kBegin + after).has_room;
  }

  LocalCaps caps_{3};
};

TEST(LocalCaps, AnswersAsTheSharedStoreDoes) {
  LocalCaps caps(100);
  ExpectCapCases(kBegin, absl::ZeroDuration(), [&](const CapStore::Request& request, CapStore::Mode mode) {
    return caps.Use(request, mode, kBegin);
  });
}

TEST_F(LocalCapsTest, FreeAPlaceAtTheMicrosecondAtWhichItIsAWindowOld) {
  EXPECT_TRUE(LetsIn(1, absl::ZeroDuration()));
  EXPECT_FALSE(LetsIn(2, absl::Hours(1) - absl::Microseconds(1)));
  EXPECT_TRUE(LetsIn(2, absl::Hours(1)));
}

TEST_F(LocalCapsTest, KeepRecipientsTypesAndChannelsApart) {
  EXPECT_TRUE(LetsIn(1, absl::ZeroDuration(), "ann"));
  EXPECT_TRUE(LetsIn(1, absl::ZeroDuration(), "bob"));
  CapStore::Request other = RequestOf("ann", 2, {CapOf(1, absl::Hours(1))});
  other.type = "follow";
  EXPECT_TRUE(caps_.Use(other, kTake, kBegin).has_room);
  other.type = "like";
  other.channel = Channel::kSms;
  EXPECT_TRUE(caps_.Use(other, kTake, kBegin).has_room);
}

TEST_F(LocalCapsTest, KeepAsManyWindowsAsTheyMayAndForgetTheOneUsedLongestAgo) {
  for (const char* recipient : {"ann", "bob", "cleo"}) EXPECT_TRUE(LetsIn(1, absl::ZeroDuration(), recipient));
  EXPECT_FALSE(LetsIn(2, absl::ZeroDuration(), "ann"));
  EXPECT_TRUE(LetsIn(1, absl::ZeroDuration(), "dan"));
  EXPECT_EQ(caps_.size(), 3u);
  EXPECT_FALSE(LetsIn(2, absl::ZeroDuration(), "ann")) << "used last";
  EXPECT_TRUE(LetsIn(2, absl::ZeroDuration(), "bob")) << "forgotten";
}

TEST_F(LocalCapsTest, LetNothingGiveWayToThoseWhoOnlyLook) {
  for (const char* recipient : {"ann", "bob", "cleo"}) EXPECT_TRUE(LetsIn(1, absl::ZeroDuration(), recipient));
  for (int i = 0; i < 10; ++i) {
    const std::string recipient = absl::StrCat("passer-by ", i);
    EXPECT_TRUE(caps_.Use(RequestOf(recipient, 1, {CapOf(1, absl::Hours(1))}), kPeek, kBegin).has_room);
  }
  for (const char* recipient : {"ann", "bob", "cleo"}) EXPECT_FALSE(LetsIn(2, absl::ZeroDuration(), recipient));
}

TEST_F(LocalCapsTest, CountWhatTheSharedStoreHasLetIn) {
  const CapStore::Request request = RequestOf("ann", 1, {CapOf(2, absl::Hours(1))});
  for (int i = 0; i < 5; ++i) caps_.Record(request, kBegin);
  EXPECT_TRUE(LetsIn(2, absl::ZeroDuration(), "ann", /*limit=*/2));
  EXPECT_FALSE(LetsIn(3, absl::ZeroDuration(), "ann", /*limit=*/2));
}

TEST_F(LocalCapsTest, KeepOfWhatAStoreWithoutMemoryLetInTheNewest) {
  for (uint8_t member = 1; member <= 100; ++member) {
    caps_.Record(RequestOf("ann", member, {CapOf(2, absl::Hours(1))}), kBegin + absl::Seconds(member));
  }
  const CapUse use = caps_.Use(RequestOf("ann", 101, {CapOf(2, absl::Hours(1))}), kTake, kBegin + absl::Minutes(2));
  EXPECT_FALSE(use.has_room);
  EXPECT_EQ(use.count, 2);
  EXPECT_EQ(use.next_room, kBegin + absl::Seconds(99) + absl::Hours(1));
}

}  // namespace
}  // namespace carillon::testing
