#include "carillon/runtime/settings_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <utility>

#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

FeedKey Key(const std::string& recipient) { return {AppId(7), RecipientId(recipient)}; }

// A recipient's zone stands for all that may change.
class FakeStore final : public SettingsStore {
 public:
  absl::StatusOr<std::vector<KnownSettings>> Read(absl::Span<const FeedKey> keys) override {
    std::vector<KnownSettings> all;
    for (const FeedKey& key : keys) {
      reads.push_back(key.recipient.value());
      all.push_back({.settings = {}, .time_zone = zones[key.recipient.value()], .mutes = mutes});
    }
    if (during_read) std::exchange(during_read, nullptr)();
    if (!status.ok()) return status;
    return all;
  }

  absl::StatusOr<RecipientSettings> Update(const FeedKey&, Change) override { return RecipientSettings(); }
  absl::Status AddMutes(const FeedKey&, absl::Span<const Mute>) override { return absl::OkStatus(); }
  absl::StatusOr<int> RemoveMutes(const FeedKey&, absl::Span<const Mute>) override { return 0; }
  absl::StatusOr<std::vector<Preference>> ReadAppPreferences(AppId) override { return std::vector<Preference>(); }
  absl::Status SetAppPreferences(AppId, absl::Span<const Preference>) override { return absl::OkStatus(); }

  std::map<std::string, std::string> zones;
  std::vector<Mute> mutes;
  absl::Status status;
  std::vector<std::string> reads;
  // After the store has looked, before it answers; once.
  std::function<void()> during_read;
};

class SettingsCacheTest : public ::testing::Test {
 protected:
  SettingsCacheTest() {
    for (const char* recipient : {"ann", "bob", "cleo", "dan"}) store_.zones[recipient] = "Europe/Berlin";
    cache_.Open();
  }

  // What the cache says, and what it asked the store for.
  std::vector<std::string> ZonesOf(const std::vector<std::string>& recipients) {
    std::vector<FeedKey> keys;
    for (const std::string& recipient : recipients) keys.push_back(Key(recipient));
    store_.reads.clear();
    std::vector<std::string> zones;
    const auto entries = cache_.Read(keys);
    EXPECT_OK(entries);
    if (!entries.ok()) return zones;
    for (const SettingsCache::Entry& entry : *entries) zones.push_back(entry->zone().name());
    return zones;
  }
  std::string ZoneOf(const std::string& recipient) { return ZonesOf({recipient}).at(0); }
  // True if the store was not asked.
  bool IsKept(const std::string& recipient) {
    ZoneOf(recipient);
    return store_.reads.empty();
  }

  FakeStore store_;
  SettingsCache cache_{store_, 3};
};

TEST_F(SettingsCacheTest, AsksTheStoreOnceForThoseItDoesNotKnow) {
  EXPECT_THAT(ZonesOf({"ann"}), ElementsAre("Europe/Berlin"));
  store_.zones["bob"] = "Asia/Kolkata";
  EXPECT_THAT(ZonesOf({"bob", "ann", "cleo"}), ElementsAre("Asia/Kolkata", "Europe/Berlin", "Europe/Berlin"));
  EXPECT_THAT(store_.reads, ElementsAre("bob", "cleo"));
  EXPECT_THAT(ZonesOf({"cleo", "ann", "bob"}), ElementsAre("Europe/Berlin", "Europe/Berlin", "Asia/Kolkata"));
  EXPECT_THAT(store_.reads, IsEmpty());
}

TEST_F(SettingsCacheTest, KeepsNothingBeforeItIsOpen) {
  SettingsCache closed(store_, 3);
  const FeedKey key = Key("ann");
  for (int i = 0; i < 2; ++i) EXPECT_OK(closed.Read({&key, 1}));
  EXPECT_THAT(store_.reads, ElementsAre("ann", "ann"));
}

TEST_F(SettingsCacheTest, ReadsAnewWhoHasChangedAndNobodyElse) {
  ZonesOf({"ann", "bob"});
  store_.zones["ann"] = "Asia/Kolkata";
  cache_.Forget(Key("ann"));
  EXPECT_THAT(ZonesOf({"ann", "bob"}), ElementsAre("Asia/Kolkata", "Europe/Berlin"));
  EXPECT_THAT(store_.reads, ElementsAre("ann"));
}

TEST_F(SettingsCacheTest, DoesNotKeepWhatWasReadBeforeAChangeThatWasToldMeanwhile) {
  store_.during_read = [&] {
    store_.zones["ann"] = "Asia/Kolkata";
    cache_.Forget(Key("ann"));
  };
  EXPECT_EQ(ZoneOf("ann"), "Europe/Berlin") << "as the store said";
  EXPECT_EQ(ZoneOf("ann"), "Asia/Kolkata");
  EXPECT_TRUE(IsKept("ann"));
}

TEST_F(SettingsCacheTest, DoesNotKeepWhatWasReadBeforeItWasOpenedAgain) {
  store_.during_read = [&] {
    cache_.Close();
    store_.zones["ann"] = "Asia/Kolkata";
    cache_.Open();
  };
  ZoneOf("ann");
  EXPECT_EQ(ZoneOf("ann"), "Asia/Kolkata");
}

TEST_F(SettingsCacheTest, DoesNotKeepWhatWasReadBeforeAllWasForgotten) {
  store_.during_read = [&] {
    store_.zones["ann"] = "Asia/Kolkata";
    cache_.ForgetAll();
  };
  ZoneOf("ann");
  EXPECT_EQ(ZoneOf("ann"), "Asia/Kolkata");
}

TEST_F(SettingsCacheTest, ForgetsAllAtOnce) {
  ZonesOf({"ann", "bob"});
  cache_.ForgetAll();
  EXPECT_FALSE(IsKept("ann"));
  EXPECT_FALSE(IsKept("bob"));
  EXPECT_TRUE(IsKept("bob")) << "it is still open";
}

TEST_F(SettingsCacheTest, KeepsNothingWhileItIsClosed) {
  ZoneOf("ann");
  cache_.Close();
  EXPECT_FALSE(IsKept("ann"));
  EXPECT_FALSE(IsKept("ann"));
  cache_.Open();
  EXPECT_FALSE(IsKept("ann"));
  EXPECT_TRUE(IsKept("ann"));
}

TEST_F(SettingsCacheTest, KeepsThoseThatWereUsedLast) {
  ZonesOf({"ann", "bob", "cleo"});
  EXPECT_TRUE(IsKept("ann"));
  ZoneOf("dan");
  EXPECT_TRUE(IsKept("ann"));
  EXPECT_TRUE(IsKept("cleo"));
  EXPECT_TRUE(IsKept("dan"));
  EXPECT_FALSE(IsKept("bob"));
}

TEST_F(SettingsCacheTest, KeepsWhoIsAskedForTwiceInACallOnce) {
  EXPECT_THAT(ZonesOf({"ann", "bob", "ann"}), ElementsAre("Europe/Berlin", "Europe/Berlin", "Europe/Berlin"));
  cache_.Forget(Key("ann"));
  EXPECT_FALSE(IsKept("ann"));
  EXPECT_TRUE(IsKept("bob"));
}

TEST_F(SettingsCacheTest, SaysWhatTheStoreSaysWhenItFails) {
  store_.status = absl::UnavailableError("away");
  const FeedKey key = Key("ann");
  EXPECT_THAT(cache_.Read({&key, 1}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("away")));
  store_.status = absl::OkStatus();
  EXPECT_FALSE(IsKept("ann"));
}

TEST_F(SettingsCacheTest, KnowsMutesOfActorsFromThoseOfObjects) {
  const absl::Time until = absl::FromUnixSeconds(1'800'000'000);
  store_.mutes = {{MuteKind::kActor, "7", until}, {MuteKind::kObject, "8"}};
  const FeedKey key = Key("ann");
  ASSERT_OK_AND_ASSIGN(const auto entries, cache_.Read({&key, 1}));
  EXPECT_EQ(entries[0]->ActorMutedUntil("7"), until);
  EXPECT_EQ(entries[0]->ObjectMutedUntil("8"), absl::InfiniteFuture());
  EXPECT_EQ(entries[0]->ActorMutedUntil("8"), std::nullopt);
  EXPECT_EQ(entries[0]->ObjectMutedUntil("7"), std::nullopt);
  EXPECT_EQ(entries[0]->ActorMutedUntil(""), std::nullopt);
}

TEST_F(SettingsCacheTest, TakesAZoneThatIsNoneForUtc) {
  store_.zones["ann"] = "Nowhere/Land";
  store_.zones["bob"] = "";
  EXPECT_THAT(ZonesOf({"ann", "bob"}), ElementsAre("UTC", "UTC"));
}

TEST_F(SettingsCacheTest, FollowsTheNewsThatItIsTold) {
  absl::Status told;
  const SettingsNews news = NewsFor(cache_, [&](const absl::Status& why) { told = why; });
  ZonesOf({"ann", "bob"});
  news.on_change(Key("ann"));
  EXPECT_FALSE(IsKept("ann"));
  EXPECT_TRUE(IsKept("bob"));
  news.on_change_of_many();
  EXPECT_FALSE(IsKept("bob"));
  news.on_loss(absl::UnavailableError("away"));
  EXPECT_EQ(told, absl::UnavailableError("away"));
  EXPECT_FALSE(IsKept("bob"));
  EXPECT_FALSE(IsKept("bob"));
  news.on_open();
  EXPECT_FALSE(IsKept("bob"));
  EXPECT_TRUE(IsKept("bob"));
}

}  // namespace
}  // namespace carillon::testing
