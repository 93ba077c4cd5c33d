#include "carillon/postgres/recipient_store.h"

#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RecipientStoreTest : public PostgresTest {
 protected:
  FeedKey Key(const std::string& recipient) const { return {app_, RecipientId(recipient)}; }
  Recipient Get(const std::string& recipient) {
    const absl::StatusOr<Recipient> got = store_.Get(Key(recipient));
    EXPECT_OK(got);
    return got.value_or(Recipient());
  }
  void Put(const std::string& recipient, const std::string& id, Channel channel = Channel::kFcm) {
    EXPECT_OK(store_.PutDevice(Key(recipient), {.id = id, .channel = channel, .token = "token-" + id}));
  }
  std::vector<std::string> DeviceIds(const std::string& recipient) {
    std::vector<std::string> ids;
    for (const Device& device : Get(recipient).devices) ids.push_back(device.id);
    return ids;
  }

  const AppId app_ = NewApp();
  PostgresRecipientStore store_{MakePool(8)};
};

TEST_F(RecipientStoreTest, KnowsNobodyOfWhomNothingWasSaid) {
  EXPECT_THAT(store_.Get(Key("ann")), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RecipientStoreTest, MakesARecipientWithWhatIsGiven) {
  ASSERT_OK_AND_ASSIGN(const Recipient made,
                       store_.Update(Key("ann"), {.email = "ann@example.org", .locale = "es-MX"}));
  EXPECT_EQ(made.key, Key("ann"));
  EXPECT_EQ(made.email, "ann@example.org");
  EXPECT_EQ(made.phone, "");
  EXPECT_EQ(made.locale, "es-MX");
  EXPECT_EQ(made.time_zone, "");
  EXPECT_THAT(made.devices, IsEmpty());
  EXPECT_GT(made.create_time, absl::Now() - absl::Minutes(1));
  EXPECT_EQ(Get("ann").email, "ann@example.org");
}

TEST_F(RecipientStoreTest, ChangesWhatIsGivenAndClearsWhatIsEmpty) {
  ASSERT_OK(store_.Update(Key("ann"), {.email = "ann@example.org", .phone = "+4915112345678"}));
  ASSERT_OK_AND_ASSIGN(const Recipient changed, store_.Update(Key("ann"), {.phone = "", .time_zone = "Europe/Berlin"}));
  EXPECT_EQ(changed.email, "ann@example.org");
  EXPECT_EQ(changed.phone, "");
  EXPECT_EQ(changed.time_zone, "Europe/Berlin");
  EXPECT_GE(changed.update_time, changed.create_time);
}

TEST_F(RecipientStoreTest, KeepsAppsApart) {
  ASSERT_OK(store_.Update(Key("ann"), {.email = "ann@example.org"}));
  EXPECT_THAT(store_.Get({NewApp(), RecipientId("ann")}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RecipientStoreTest, MakesTheRecipientOfADevice) {
  Put("ann", "d1");
  EXPECT_THAT(DeviceIds("ann"), ElementsAre("d1"));
  EXPECT_EQ(Get("ann").devices[0].token, "token-d1");
}

TEST_F(RecipientStoreTest, ListsDevicesNewestFirstAndRenewsThem) {
  Put("ann", "d1");
  Put("ann", "d2", Channel::kApns);
  EXPECT_THAT(DeviceIds("ann"), ElementsAre("d2", "d1"));
  Put("ann", "d1");
  EXPECT_THAT(DeviceIds("ann"), ElementsAre("d1", "d2"));
}

TEST_F(RecipientStoreTest, GivesADeviceToWhoeverRegistersItLast) {
  Put("ann", "d1");
  Put("bob", "d1");
  EXPECT_THAT(DeviceIds("ann"), IsEmpty());
  EXPECT_THAT(DeviceIds("bob"), ElementsAre("d1"));
}

TEST_F(RecipientStoreTest, LetsTheOldestDeviceOfAChannelGiveWay) {
  Put("ann", "apns", Channel::kApns);
  for (int i = 0; i < RecipientStore::kMaxDevicesPerChannel + 2; ++i) Put("ann", absl::StrCat("fcm-", i));
  const std::vector<std::string> ids = DeviceIds("ann");
  EXPECT_THAT(ids, SizeIs(RecipientStore::kMaxDevicesPerChannel + 1));
  EXPECT_EQ(ids.back(), "apns");
  EXPECT_EQ(ids[ids.size() - 2], "fcm-2");
}

TEST_F(RecipientStoreTest, RenewingADeviceOfManyCostsNoOther) {
  for (int i = 0; i < RecipientStore::kMaxDevicesPerChannel; ++i) Put("ann", absl::StrCat("fcm-", i));
  Put("ann", "fcm-0");
  EXPECT_THAT(DeviceIds("ann"), SizeIs(RecipientStore::kMaxDevicesPerChannel));
}

TEST_F(RecipientStoreTest, RemovesOnlyTheRecipientsOwnDevices) {
  Put("ann", "d1");
  Put("ann", "d2");
  Put("bob", "d3");
  EXPECT_THAT(store_.RemoveDevices(Key("ann"), {"d1", "d3", "d4"}), IsOkAndHolds(1));
  EXPECT_THAT(store_.RemoveDevices(Key("ann"), {"d1"}), IsOkAndHolds(0));
  EXPECT_THAT(DeviceIds("ann"), ElementsAre("d2"));
  EXPECT_THAT(DeviceIds("bob"), ElementsAre("d3"));
}

TEST_F(RecipientStoreTest, LeavesATokenWithOneOfThoseWhoRegisterItAtOnce) {
  RunThreads(8, [&](int thread) {
    for (int round = 0; round < 20; ++round) Put(absl::StrCat("user-", thread), absl::StrCat("d", round % 3));
  });
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM devices WHERE app_id = ", app_.value())), "3");
}

}  // namespace
}  // namespace carillon::testing
