#include "carillon/postgres/provider_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "carillon/postgres/catalog_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ProviderStoreTest : public PostgresTest {
 protected:
  StoredProvider Row(const std::string& name, const std::string& sealed = std::string("\x00\xff'\"\\", 5)) {
    return {.app = app_, .channel = Channel::kSms, .name = name, .position = 0, .sealed = sealed, .update_time = {}};
  }
  std::vector<StoredProvider> Set(std::vector<StoredProvider> rows, Channel channel = Channel::kSms) {
    auto set = store_.Set(app_, channel, [&](auto) { return rows; });
    EXPECT_OK(set);
    return set.value_or(std::vector<StoredProvider>());
  }
  std::vector<StoredProvider> List(std::optional<Channel> channel = Channel::kSms) {
    auto rows = store_.List(app_, channel);
    EXPECT_OK(rows);
    return rows.value_or(std::vector<StoredProvider>());
  }
  static std::vector<std::string> Names(const std::vector<StoredProvider>& rows) {
    std::vector<std::string> names;
    for (const StoredProvider& row : rows) names.push_back(absl::StrCat(row.position, row.name));
    return names;
  }

  ProviderHealth Health(const std::string& name, BreakerState breaker, Lane lane = Lane::kOtp) {
    return {.app = app_,
            .channel = Channel::kSms,
            .name = name,
            .lane = lane,
            .breaker = breaker,
            .misconfigured = false,
            .error = "",
            .since = {},
            .retry_time = {}};
  }
  std::vector<ProviderHealth> ReadHealth() {
    auto health = store_.ReadHealth(app_);
    EXPECT_OK(health);
    return health.value_or(std::vector<ProviderHealth>());
  }

  const AppId app_ = NewApp();
  PostgresProviderStore store_{MakePool(4)};
};

TEST_F(ProviderStoreTest, KeepsTheListInItsOrder) {
  const std::vector<StoredProvider> set = Set({Row("zulu"), Row("alpha", std::string(1000, '\0'))});
  EXPECT_THAT(Names(set), ElementsAre("1zulu", "2alpha"));
  EXPECT_THAT(Names(List()), ElementsAre("1zulu", "2alpha"));
  EXPECT_EQ(List()[0].sealed, Row("x").sealed);
  EXPECT_EQ(List()[1].sealed, std::string(1000, '\0'));
  EXPECT_EQ(List()[0].app, app_);
  EXPECT_EQ(List()[0].channel, Channel::kSms);
}

TEST_F(ProviderStoreTest, ReplacesTheListOfItsOwnAppAndChannelOnly) {
  Set({Row("a"), Row("b")});
  Set({Row("mail")}, Channel::kEmail);
  Set({Row("c")});
  EXPECT_THAT(Names(List()), ElementsAre("1c"));
  EXPECT_THAT(Names(List(std::nullopt)), ElementsAre("1mail", "1c"));
  EXPECT_THAT(store_.List(NewApp(), std::nullopt), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(Set({}), IsEmpty());
  EXPECT_THAT(Names(List(std::nullopt)), ElementsAre("1mail"));
}

TEST_F(ProviderStoreTest, LoadsTheProvidersOfAllApps) {
  Set({Row("a")});
  const AppId other = NewApp();
  ASSERT_OK(store_.Set(other, Channel::kSms, [&](auto) { return std::vector{Row("b")}; }));
  ASSERT_OK_AND_ASSIGN(const std::vector<StoredProvider> all, store_.LoadAll());
  std::vector<AppId> apps;
  for (const StoredProvider& row : all) {
    if (row.app == app_ || row.app == other) apps.push_back(row.app);
  }
  EXPECT_THAT(apps, ElementsAre(app_, other));
}

TEST_F(ProviderStoreTest, TellsWhatIsStoredToWhoeverDecides) {
  Set({Row("a"), Row("b")});
  ASSERT_OK(store_.Set(app_, Channel::kSms, [&](absl::Span<const StoredProvider> now) {
    EXPECT_THAT(Names({now.begin(), now.end()}), ElementsAre("1a", "2b"));
    return std::vector<StoredProvider>{now[1], now[0]};
  }));
  EXPECT_THAT(Names(List()), ElementsAre("1b", "2a"));
}

TEST_F(ProviderStoreTest, ChangesNothingIfTheDecisionIsARefusal) {
  Set({Row("a")});
  PostgresCatalogStore catalogue(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const int64_t before, catalogue.Version());
  EXPECT_THAT(
      store_.Set(app_, Channel::kSms,
                 [](auto) -> absl::StatusOr<std::vector<StoredProvider>> { return absl::InvalidArgumentError("no"); }),
      StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Names(List()), ElementsAre("1a"));
  EXPECT_THAT(catalogue.Version(), IsOkAndHolds(before));
}

TEST_F(ProviderStoreTest, MovesTheCataloguesVersionOn) {
  PostgresCatalogStore catalogue(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const int64_t before, catalogue.Version());
  Set({Row("a")});
  EXPECT_THAT(catalogue.Version(), IsOkAndHolds(::testing::Gt(before)));
}

TEST_F(ProviderStoreTest, LeavesTheTimeOfWhatDidNotChange) {
  const std::vector<StoredProvider> before = Set({Row("same"), Row("changed")});
  const std::vector<StoredProvider> after = Set({Row("same"), Row("changed", "other")});
  EXPECT_EQ(after[0].update_time, before[0].update_time);
  EXPECT_GT(after[1].update_time, before[1].update_time);
}

TEST_F(ProviderStoreTest, ForgetsTheHealthOfWhatChangedMovedOrWent) {
  Set({Row("same"), Row("changed"), Row("gone"), Row("moved")});
  ASSERT_OK(store_.WriteHealth({Health("same", BreakerState::kOpen), Health("changed", BreakerState::kOpen),
                                Health("gone", BreakerState::kOpen), Health("moved", BreakerState::kOpen)}));
  ASSERT_THAT(ReadHealth(), SizeIs(4));
  Set({Row("same"), Row("changed", "other"), Row("moved")});
  ASSERT_THAT(ReadHealth(), SizeIs(1));
  EXPECT_EQ(ReadHealth()[0].name, "same");
}

TEST_F(ProviderStoreTest, ForgetsWhatIsMisconfiguredOrNotAskedThoughItIsSetAsItWas) {
  const auto set = [&] { return Set({Row("away"), Row("refuses"), Row("standby"), Row("well")}); };
  const std::vector<StoredProvider> before = set();
  ProviderHealth away = Health("away", BreakerState::kOpen);
  away.retry_time = absl::Now() + absl::Minutes(1);
  ProviderHealth refuses = Health("refuses", BreakerState::kOpen, Lane::kPayment);
  refuses.misconfigured = true;
  refuses.retry_time = away.retry_time;
  ProviderHealth standby = Health("standby", BreakerState::kOpen);
  standby.retry_time = absl::Now() - absl::Minutes(1);
  ASSERT_OK(store_.WriteHealth(
      {away, Health("refuses", BreakerState::kClosed), refuses, standby, Health("well", BreakerState::kClosed)}));
  const std::vector<StoredProvider> after = set();
  std::vector<std::string> thought_of;
  for (const ProviderHealth& health : ReadHealth()) thought_of.push_back(health.name);
  EXPECT_THAT(thought_of, ElementsAre("away", "well"));
  EXPECT_EQ(after[0].update_time, before[0].update_time);
  EXPECT_GT(after[1].update_time, before[1].update_time) << "by which workers see that it was set";
  EXPECT_GT(after[2].update_time, before[2].update_time);
  EXPECT_EQ(after[3].update_time, before[3].update_time);
  EXPECT_EQ(set()[1].update_time, after[1].update_time);
}

TEST_F(ProviderStoreTest, KeepsWhatTheWorkersThink) {
  Set({Row("a")});
  ProviderHealth health = Health("a", BreakerState::kHalfOpen, Lane::kPayment);
  health.misconfigured = true;
  health.error = std::string("401 \"no\"\0\xff", 10);
  health.retry_time = absl::FromUnixMicros(1'795'246'884'082'123);
  ASSERT_OK(store_.WriteHealth({health, Health("a", BreakerState::kClosed, Lane::kOtp)}));
  const std::vector<ProviderHealth> read = ReadHealth();
  ASSERT_THAT(read, SizeIs(2));
  EXPECT_EQ(read[0].lane, Lane::kOtp);
  EXPECT_EQ(read[0].retry_time, std::nullopt);
  EXPECT_EQ(read[1].app, app_);
  EXPECT_EQ(read[1].channel, Channel::kSms);
  EXPECT_EQ(read[1].name, "a");
  EXPECT_EQ(read[1].lane, Lane::kPayment);
  EXPECT_EQ(read[1].breaker, BreakerState::kHalfOpen);
  EXPECT_TRUE(read[1].misconfigured);
  EXPECT_EQ(read[1].error, "401 \"no\"??");
  EXPECT_EQ(read[1].retry_time, health.retry_time);
}

TEST_F(ProviderStoreTest, CountsTheTimeOfABreakerFromItsLastChange) {
  Set({Row("a")});
  ASSERT_OK(store_.WriteHealth({Health("a", BreakerState::kOpen)}));
  const absl::Time opened = ReadHealth()[0].since;
  ProviderHealth again = Health("a", BreakerState::kOpen);
  again.error = "newer";
  ASSERT_OK(store_.WriteHealth({again}));
  EXPECT_EQ(ReadHealth()[0].since, opened);
  EXPECT_EQ(ReadHealth()[0].error, "newer");
  ASSERT_OK(store_.WriteHealth({Health("a", BreakerState::kClosed)}));
  EXPECT_GT(ReadHealth()[0].since, opened);
}

TEST_F(ProviderStoreTest, TellsALanesBreakersThatAreNotClosed) {
  Set({Row("a"), Row("b")});
  ASSERT_OK(store_.WriteHealth({Health("a", BreakerState::kOpen), Health("b", BreakerState::kClosed),
                                Health("b", BreakerState::kHalfOpen, Lane::kPayment)}));
  ASSERT_OK_AND_ASSIGN(std::vector<ProviderHealth> open, store_.ReadOpen(Lane::kOtp, Channel::kSms));
  std::erase_if(open, [&](const ProviderHealth& health) { return health.app != app_; });
  ASSERT_THAT(open, SizeIs(1));
  EXPECT_EQ(open[0].name, "a");
}

TEST_F(ProviderStoreTest, PassesOverTheHealthOfProvidersThatAreNotSet) {
  Set({Row("a")});
  ASSERT_OK(store_.WriteHealth({Health("b", BreakerState::kOpen), Health("a", BreakerState::kOpen)}));
  ASSERT_OK(store_.WriteHealth({}));
  ASSERT_THAT(ReadHealth(), SizeIs(1));
  EXPECT_EQ(ReadHealth()[0].name, "a");
}

TEST_F(ProviderStoreTest, TakesChangesAndHealthAtOnce) {
  Set({Row("a"), Row("b")});
  RunThreads(4, [&](int thread) {
    for (int round = 0; round < 20; ++round) {
      if (thread % 2 == 0) {
        ASSERT_OK(store_.Set(app_, Channel::kSms, [&](auto) {
          return std::vector{Row("a", absl::StrCat(thread, round)), Row("b", absl::StrCat(thread, round))};
        }));
      } else {
        ASSERT_OK(store_.WriteHealth({Health("b", BreakerState::kOpen), Health("a", BreakerState::kClosed)}));
      }
    }
  });
  EXPECT_THAT(Names(List()), ElementsAre("1a", "2b"));
}

}  // namespace
}  // namespace carillon::testing
