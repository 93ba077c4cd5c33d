#include "carillon/redis/channels.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace carillon
