#include "carillon/postgres/catalog_store.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class CatalogStoreTest : public PostgresTest {
 protected:
  NotificationType Type(const std::string& name) {
    return {.app = app_,
            .name = name,
            .lane = Lane::kPayment,
            .exchange = "carillon.topic",
            .routing_key = "payment.x",
            .channels = {Channel::kInApp, Channel::kEmail},
            .retention_days = 30,
            .critical = true,
            .ttl = absl::Minutes(10) + absl::Milliseconds(1),
            .in_app = {.title = "{{data.a}} \"quoted\" 'x' \\ {y}", .body = "ä€😀", .badge = "b"},
            .dedupe_key = "{{actor_id}}/{{data.x}}",
            .dedupe_window = absl::Minutes(5) + absl::Milliseconds(1),
            .track_interactions = true,
            .unsubscribable = true,
            .at_most_once = true};
  }
  std::vector<NotificationType> Types(AppId app) {
    absl::StatusOr<std::vector<NotificationType>> types = store_.LoadTypes();
    EXPECT_OK(types);
    if (!types.ok()) return {};
    std::erase_if(*types, [&](const NotificationType& type) { return type.app != app; });
    return *types;
  }
  int64_t Version() {
    const absl::StatusOr<int64_t> version = store_.Version();
    EXPECT_OK(version);
    return version.value_or(0);
  }

  const AppId app_ = NewApp();
  PostgresCatalogStore store_{MakePool(4)};
};

TEST_F(CatalogStoreTest, HoldsTheShippedTypes) {
  const std::vector<NotificationType> types = Types(kShippedApp);
  EXPECT_THAT(types, SizeIs(11));
  const auto otp = std::find_if(types.begin(), types.end(), [](const auto& type) { return type.name == "otp.login"; });
  ASSERT_NE(otp, types.end());
  EXPECT_EQ(otp->lane, Lane::kOtp);
  EXPECT_EQ(otp->ttl, absl::Minutes(10));
  EXPECT_TRUE(otp->critical);
  EXPECT_THAT(otp->channels, ElementsAre(Channel::kInApp));
  EXPECT_EQ(otp->in_app.body, "{{data.code}}");
}

TEST_F(CatalogStoreTest, TracksShippedMarketingThatRecipientsMayLeave) {
  for (const NotificationType& type : Types(kShippedApp)) {
    EXPECT_EQ(type.track_interactions, type.lane == Lane::kMarketing);
    EXPECT_EQ(type.unsubscribable, type.lane == Lane::kMarketing);
    EXPECT_FALSE(type.at_most_once);
  }
}

TEST_F(CatalogStoreTest, TellsOfAStreamersStartOncePerTenMinutes) {
  for (const NotificationType& type : Types(kShippedApp)) {
    EXPECT_EQ(type.dedupe_key, type.name == "stream.start" ? "{{actor_id}}" : "");
    EXPECT_EQ(type.dedupe_window, type.name == "stream.start" ? absl::Minutes(10) : absl::ZeroDuration());
  }
}

TEST_F(CatalogStoreTest, AddsAndReplacesTypes) {
  NotificationType type = Type("a.b");
  ASSERT_OK(store_.Apply({type, Type("c")}));
  EXPECT_THAT(Types(app_), ElementsAre(type, Type("c")));
  type.ttl = std::nullopt;
  type.lane = Lane::kSocial;
  type.exchange = "carillon.direct";
  type.routing_key = "social.x";
  type.channels = {Channel::kInApp};
  type.retention_days = 1;
  type.critical = false;
  type.in_app = {.title = "t"};
  type.dedupe_key = "";
  type.dedupe_window = absl::ZeroDuration();
  type.track_interactions = type.unsubscribable = type.at_most_once = false;
  ASSERT_OK(store_.Apply({type}));
  EXPECT_THAT(Types(app_), ElementsAre(type, Type("c")));
}

TEST_F(CatalogStoreTest, MovesTheVersionOnWithEveryChange) {
  const int64_t before = Version();
  ASSERT_OK(store_.Apply({Type("a")}));
  EXPECT_GT(Version(), before);
}

TEST_F(CatalogStoreTest, AppliesAllTypesOrNone) {
  NotificationType wrong = Type("wrong");
  wrong.exchange = "carillon.direct";
  const int64_t before = Version();
  EXPECT_THAT(store_.Apply({Type("right"), wrong}), Not(IsOk()));
  EXPECT_THAT(Types(app_), IsEmpty());
  EXPECT_EQ(Version(), before);
}

TEST_F(CatalogStoreTest, TakesChangesInAnyOrderAtOnce) {
  RunThreads(4, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      std::vector<NotificationType> types;
      for (int i = 0; i < 10; ++i) types.push_back(Type(absl::StrCat("type", thread % 2 == 0 ? i : 9 - i)));
      ASSERT_OK(store_.Apply(types));
    }
  });
  EXPECT_THAT(Types(app_), SizeIs(10));
  EXPECT_EQ(Query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
}

class AppStoreTest : public PostgresTest {
 protected:
  static std::string Hash(char c) { return std::string(32, c); }
  PostgresAppStore store_{MakePool(2)};
};

TEST_F(AppStoreTest, CreatesAndFindsAnApp) {
  ASSERT_OK_AND_ASSIGN(
      const App created,
      store_.Create({.name = "O'Neill {\"a\"}", .key = "key-1", .scopes = {"send", "feed"}}, Hash('\xff')));
  EXPECT_GT(created.id, kShippedApp);
  ASSERT_OK_AND_ASSIGN(const AppCredentials found, store_.Find("key-1"));
  EXPECT_EQ(found.app.id, created.id);
  EXPECT_EQ(found.app.name, "O'Neill {\"a\"}");
  EXPECT_EQ(found.app.key, "key-1");
  EXPECT_THAT(found.app.scopes, ElementsAre("send", "feed"));
  EXPECT_EQ(found.app.create_time, created.create_time);
  EXPECT_EQ(created.shared_audience_threshold, 100'000);
  EXPECT_EQ(found.app.shared_audience_threshold, 100'000);
  EXPECT_EQ(created.default_locale, "en");
  EXPECT_EQ(found.app.default_locale, "en");
  EXPECT_THAT(found.secret_hashes, ElementsAre(Hash('\xff')));
}

TEST_F(AppStoreTest, KnowsNoOtherKeys) {
  EXPECT_THAT(store_.Find("unknown"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Find(""), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.AddSecret("unknown", Hash('a')), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AppStoreTest, ChangesWhatIsGivenAndNothingElse) {
  ASSERT_OK(store_.Create({.name = "changing", .key = "key-5", .scopes = {"send"}}, Hash('a')));
  ASSERT_OK_AND_ASSIGN(App app, store_.Update("key-5", {.shared_audience_threshold = 0}));
  EXPECT_EQ(app.shared_audience_threshold, 0);
  EXPECT_EQ(app.default_locale, "en");
  EXPECT_EQ(app.name, "changing");
  EXPECT_THAT(app.scopes, ElementsAre("send"));
  ASSERT_OK_AND_ASSIGN(app, store_.Update("key-5", {.default_locale = "es-MX"}));
  EXPECT_EQ(app.default_locale, "es-MX");
  ASSERT_OK_AND_ASSIGN(app, store_.Update("key-5", {}));
  EXPECT_EQ(app.shared_audience_threshold, 0);
  ASSERT_OK_AND_ASSIGN(const AppCredentials found, store_.Find("key-5"));
  EXPECT_EQ(found.app.default_locale, "es-MX");
  EXPECT_EQ(found.app.shared_audience_threshold, 0);
  EXPECT_THAT(store_.Update("unknown", {.shared_audience_threshold = 1}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AppStoreTest, RefusesANameThatIsTaken) {
  ASSERT_OK(store_.Create({.name = "taken", .key = "key-2", .scopes = {}}, Hash('a')));
  EXPECT_THAT(store_.Create({.name = "taken", .key = "key-3", .scopes = {}}, Hash('a')),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(store_.Find("key-3"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AppStoreTest, KeepsTheTwoNewestSecrets) {
  ASSERT_OK(store_.Create({.name = "rotating", .key = "key-4", .scopes = {"admin"}}, Hash('a')));
  ASSERT_OK(store_.AddSecret("key-4", Hash('b')));
  ASSERT_OK_AND_ASSIGN(AppCredentials found, store_.Find("key-4"));
  EXPECT_THAT(found.secret_hashes, ElementsAre(Hash('b'), Hash('a')));
  ASSERT_OK(store_.AddSecret("key-4", Hash('c')));
  ASSERT_OK_AND_ASSIGN(found, store_.Find("key-4"));
  EXPECT_THAT(found.secret_hashes, ElementsAre(Hash('c'), Hash('b')));
  EXPECT_EQ(Query("SELECT count(*) FROM app_secrets JOIN apps USING (app_id) WHERE app_key = 'key-4'"), "2");
}

}  // namespace
}  // namespace carillon::testing
