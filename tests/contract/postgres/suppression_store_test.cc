#include "carillon/postgres/suppression_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class SuppressionStoreTest : public PostgresTest {
 protected:
  Suppression Make(const std::string& address, Channel channel = Channel::kEmail, const std::string& type = "") const {
    return {.app = app_, .channel = channel, .address = address, .type = type, .reason = "hard bounce"};
  }
  SuppressionPage List(SuppressionQuery query) {
    query.app = app_;
    if (query.limit == 0) query.limit = 100;
    const absl::StatusOr<SuppressionPage> page = store_.List(query);
    EXPECT_OK(page);
    return page.value_or(SuppressionPage());
  }
  static std::vector<std::string> Addresses(const SuppressionPage& page) {
    std::vector<std::string> addresses;
    for (const Suppression& suppression : page.suppressions) addresses.push_back(suppression.address);
    return addresses;
  }

  const AppId app_ = NewApp();
  PostgresSuppressionStore store_{MakePool(2)};
};

TEST_F(SuppressionStoreTest, AddsEachAddressOnceWhateverItsCase) {
  EXPECT_THAT(store_.Add(Make("Ann@Example.org")), IsOkAndHolds(true));
  EXPECT_THAT(store_.Add(Make("ann@example.ORG")), IsOkAndHolds(false));
  const SuppressionPage page = List({});
  ASSERT_THAT(Addresses(page), ElementsAre("ann@example.org"));
  EXPECT_EQ(page.suppressions[0].reason, "hard bounce");
  EXPECT_EQ(page.suppressions[0].channel, Channel::kEmail);
}

TEST_F(SuppressionStoreTest, KeepsTheHashThatDeliveriesAreComparedBy) {
  ASSERT_OK(store_.Add(Make("Ann@Example.org")));
  EXPECT_EQ(Query(absl::StrCat("SELECT address_hash = sha256(convert_to(lower('ANN@example.org'), 'UTF8'))"
                               " FROM suppressions WHERE app_id = ",
                               app_.value())),
            "t");
}

TEST_F(SuppressionStoreTest, TellsChannelsAndTypesApart) {
  EXPECT_THAT(store_.Add(Make("ann@example.org")), IsOkAndHolds(true));
  EXPECT_THAT(store_.Add(Make("ann@example.org", Channel::kEmail, "newsletter")), IsOkAndHolds(true));
  EXPECT_THAT(store_.Add(Make("+4915112345678", Channel::kSms)), IsOkAndHolds(true));
  EXPECT_THAT(store_.Remove(Make("ann@example.org", Channel::kEmail, "digest")), IsOkAndHolds(false));
  EXPECT_THAT(store_.Remove(Make("ANN@example.org", Channel::kEmail, "newsletter")), IsOkAndHolds(true));
  EXPECT_THAT(Addresses(List({})), ElementsAre("ann@example.org", "+4915112345678"));
  EXPECT_THAT(Addresses(List({.channel = Channel::kSms})), ElementsAre("+4915112345678"));
}

TEST_F(SuppressionStoreTest, FindsThoseOfAnAddress) {
  ASSERT_OK(store_.Add(Make("ann@example.org")));
  ASSERT_OK(store_.Add(Make("ann@example.org", Channel::kEmail, "newsletter")));
  ASSERT_OK(store_.Add(Make("bob@example.org")));
  EXPECT_THAT(List({.channel = Channel::kEmail, .address = "Ann@example.org"}).suppressions, SizeIs(2));
  EXPECT_THAT(List({.channel = Channel::kSms, .address = "Ann@example.org"}).suppressions, IsEmpty());
}

TEST_F(SuppressionStoreTest, PagesThroughAllChannels) {
  std::vector<std::string> wanted;
  for (int i = 0; i < 7; ++i) {
    ASSERT_OK(store_.Add(Make(absl::StrCat("user", i, "@example.org"))));
    ASSERT_OK(store_.Add(Make(absl::StrCat("+49151123456", i), Channel::kSms)));
    wanted.push_back(absl::StrCat("user", i, "@example.org"));
    wanted.push_back(absl::StrCat("+49151123456", i));
  }
  std::vector<std::string> listed;
  SuppressionPage page;
  do {
    page = List({.after = page.last, .limit = 3});
    for (const std::string& address : Addresses(page)) listed.push_back(address);
  } while (!page.suppressions.empty());
  EXPECT_THAT(listed, ::testing::UnorderedElementsAreArray(wanted));
}

TEST_F(SuppressionStoreTest, RefusesAPlaceThatIsNone) {
  EXPECT_THAT(store_.List({.app = app_, .after = "zz.zz", .limit = 3}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")));
}

TEST_F(SuppressionStoreTest, KeepsAppsApart) {
  ASSERT_OK(store_.Add(Make("ann@example.org")));
  EXPECT_THAT(store_.List({.app = NewApp(), .limit = 3}).value_or(SuppressionPage()).suppressions, IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
