#include "carillon/redis/channels.h"

#include <gtest/gtest.h>

#include "carillon/redis/options.h"

namespace carillon {
namespace {

TEST(NotifyChannel, NamesAppAndRecipient) {
  EXPECT_EQ(NotifyChannel({.app = AppId(42), .recipient = RecipientId("ada")}), "notify:42:ada");
}

TEST(NotifyChannel, KeepsColonsOfTheRecipient) {
  for (const char* const recipient : {"ada", "urn:user:7", ":", "", "é *?[a]"}) {
    const FeedKey key{.app = AppId(42), .recipient = RecipientId(recipient)};
    EXPECT_EQ(ParseNotifyChannel(NotifyChannel(key)), key);
  }
}

TEST(NotifyChannel, RefusesOtherNames) {
  for (const char* const name : {"", "notify:", "notify:42", "notify:x:ada", "notify::ada", "other:42:ada"}) {
    EXPECT_EQ(ParseNotifyChannel(name), std::nullopt) << name;
  }
}

TEST(OtherNames, NameServerAndFeed) {
  EXPECT_EQ(ServerChannel("0190-abc"), "carillon:live:0190-abc");
  EXPECT_EQ(PresenceKey({.app = AppId(42), .recipient = RecipientId("urn:user:7")}), "carillon:presence:42:urn:user:7");
}

TEST(LiveRoutings, AreReadAsTheyAreWritten) {
  for (const LiveRouting routing : {LiveRouting::kDirected, LiveRouting::kBroadcast}) {
    EXPECT_EQ(ParseLiveRouting(ToString(routing)), routing);
  }
  EXPECT_EQ(ParseLiveRouting("both"), std::nullopt);
}

}  // namespace
}  // namespace carillon
