#include "carillon/postgres/trip_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/postgres/catalog_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class TripStoreTest : public PostgresTest {
 protected:
  // Returns its key.
  std::string NewNamedApp() {
    static int count = 0;
    const std::string key = absl::StrCat("trip-key-", ++count);
    const absl::StatusOr<App> created =
        apps_.Create({.name = key, .key = key, .scopes = {"send"}}, std::string(32, 'h'));
    EXPECT_OK(created);
    app_ = created.ok() ? created->id : AppId();
    return key;
  }
  TrippedSender Sender(const std::string& id, int64_t seconds = 0) const {
    return {.app = app_,
            .sender_id = id,
            .count = 1001,
            .limit = 1000,
            .trip_time = absl::FromUnixSeconds(1'700'000'000 + seconds),
            .app_key = ""};
  }
  std::set<std::string, std::less<>> Known() {
    const auto policies = catalogue_.LoadAppPolicies();
    EXPECT_OK(policies);
    for (const AppPolicy& policy : policies.ok() ? *policies : std::vector<AppPolicy>()) {
      if (policy.app == app_) return policy.tripped;
    }
    return {};
  }
  std::vector<std::string> Listed(const std::string& app_key, int limit = 10) {
    const auto listed = trips_.List(app_key, limit);
    EXPECT_OK(listed);
    std::vector<std::string> ids;
    for (const TrippedSender& sender : listed.ok() ? *listed : std::vector<TrippedSender>()) {
      ids.push_back(sender.sender_id);
    }
    return ids;
  }
  int64_t Version() { return catalogue_.Version().value_or(0); }

  AppId app_;
  PostgresAppStore apps_{MakePool(1)};
  PostgresCatalogStore catalogue_{MakePool(1)};
  PostgresTripStore trips_{MakePool(4)};
};

TEST_F(TripStoreTest, TellsEveryProcessWhoIsShutOutAndWhoIsLifted) {
  const std::string key = NewNamedApp();
  EXPECT_THAT(Known(), IsEmpty());
  int64_t version = Version();
  ASSERT_OK(trips_.Trip({Sender("ann"), Sender(""), Sender("O'Neill {\"x\"}, ä")}));
  EXPECT_GT(Version(), version);
  EXPECT_THAT(Known(), ElementsAre("", "O'Neill {\"x\"}, ä", "ann"));
  version = Version();
  EXPECT_THAT(trips_.Lift(key, ""), IsOkAndHolds(true));
  EXPECT_GT(Version(), version);
  EXPECT_THAT(trips_.Lift(key, ""), IsOkAndHolds(false));
  EXPECT_THAT(Known(), ElementsAre("O'Neill {\"x\"}, ä", "ann"));
}

TEST_F(TripStoreTest, ListsTheNewestFirst) {
  const std::string key = NewNamedApp();
  ASSERT_OK(trips_.Trip({Sender("second", 2), Sender("third", 3), Sender("first", 1)}));
  EXPECT_THAT(Listed(key), ElementsAre("third", "second", "first"));
  EXPECT_THAT(Listed(key, 2), ElementsAre("third", "second"));
  const auto listed = trips_.List(key, 1);
  ASSERT_OK(listed);
  EXPECT_EQ(listed->front().app_key, key);
  EXPECT_EQ(listed->front().count, 1001);
  EXPECT_EQ(listed->front().limit, 1000);
  EXPECT_EQ(listed->front().trip_time, absl::FromUnixSeconds(1'700'000'003));
  const std::string other = NewNamedApp();
  ASSERT_OK(trips_.Trip({Sender("of another app", 4)}));
  EXPECT_THAT(Listed(other), ElementsAre("of another app"));
  EXPECT_THAT(Listed("", 1), ElementsAre("of another app"));
  EXPECT_THAT(Listed(key), SizeIs(3));
}

TEST_F(TripStoreTest, LeavesWhoIsShutOutAsHeIs) {
  const std::string key = NewNamedApp();
  ASSERT_OK(trips_.Trip({Sender("ann", 1)}));
  TrippedSender again = Sender("ann", 50);
  again.count = 7;
  ASSERT_OK(trips_.Trip({again}));
  const auto listed = trips_.List(key, 10);
  ASSERT_OK(listed);
  ASSERT_THAT(*listed, SizeIs(1));
  EXPECT_EQ(listed->front().count, 1001);
  EXPECT_EQ(listed->front().trip_time, absl::FromUnixSeconds(1'700'000'001));
}

TEST_F(TripStoreTest, KeepsTheNewestOfAnApp) {
  const std::string key = NewNamedApp();
  std::vector<TrippedSender> senders;
  for (int i = 0; i < limits::kMaxTrippedSenders; ++i) senders.push_back(Sender(absl::StrCat("sender-", i), 10 + i));
  ASSERT_OK(trips_.Trip(senders));
  EXPECT_THAT(Known(), SizeIs(limits::kMaxTrippedSenders));
  ASSERT_OK(trips_.Trip({Sender("one more", 5'000)}));
  EXPECT_THAT(Known(), SizeIs(limits::kMaxTrippedSenders));
  EXPECT_TRUE(Known().contains("one more"));
  EXPECT_FALSE(Known().contains("sender-0"));
}

TEST_F(TripStoreTest, KnowsNoOtherApps) {
  EXPECT_THAT(trips_.List("unknown", 10), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(trips_.Lift("unknown", "ann"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(TripStoreTest, TakesTripsAndLiftsAtOnce) {
  const std::string key = NewNamedApp();
  RunThreads(4, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      std::vector<TrippedSender> senders;
      for (int i = 0; i < 10; ++i) senders.push_back(Sender(absl::StrCat("s", thread % 2 == 0 ? i : 9 - i)));
      ASSERT_OK(trips_.Trip(senders));
      ASSERT_OK(trips_.Lift(key, absl::StrCat("s", round)));
    }
  });
  EXPECT_EQ(Query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
}

}  // namespace
}  // namespace carillon::testing
